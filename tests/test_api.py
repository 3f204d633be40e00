"""The public functions: what the commands print, with paths as strings, modules and arrays as they are."""

from __future__ import annotations

import html.parser
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Build, Ended
from rich.console import Console

import edgeq
from edgeq.display.summary import Table, as_html, as_text, table
from edgeq.verify.report import ConversionProof, LayerParity, OutputParity

Run = Callable[..., Ended]


@pytest.fixture(name="edgeq_command")
def _edgeq_command(edgeq: Run) -> Run:  # the fixture of the commands has the package's name
    return edgeq


class Cells(html.parser.HTMLParser):
    """The texts of a page by tag; fails on a tag that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.open[-1]][-1] += data


def cells_of(page: str) -> dict[str, list[str]]:
    cells = Cells()
    cells.feed(page)
    assert cells.open == []
    return cells.texts


def check_representations(result: edgeq.Result) -> None:
    """A notebook, a terminal and a log show the same words."""
    cells = cells_of(result._repr_html_())
    console = Console(width=200, record=True, file=open("/dev/null", "w"), highlight=False)  # noqa: SIM115
    console.print(result)
    drawn, plain = console.export_text(), str(result)
    for part in result.summary():
        if isinstance(part, Table):
            for row in part.rows:
                assert all(cell in drawn and cell in plain and cell in cells["td"] for cell in row)
        else:
            assert part in plain
            assert part in cells["p"]
    assert json.loads(result.to_json()) == json.loads(json.dumps(result.to_dict()))


def module_of(built: Build, name: str) -> Any:
    spec = importlib.util.spec_from_file_location("nets_of_test_api", built.nets)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()


def test_a_build_is_shown_and_given_away(built: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = edgeq.build(str(built.out / "recipe.toml"), str(tmp_path / "out"))
    assert capfd.readouterr() == ("", ""), "a library does not print"
    assert result.to_dict() == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert result.accuracy["tflite"] == result.manifest["accuracy"]["tflite"]
    assert result.tflite.is_file()
    assert result.onnx.is_file()
    check_representations(result)


def test_verify_is_what_the_command_prints(built: Build, edgeq_command: Run) -> None:
    result = edgeq.verify(str(built.out))
    assert json.loads(edgeq_command("verify", built.out, "--json").out) == result.to_dict()
    assert edgeq_command("verify", built.out, "-q").out == f"{result}\n"
    assert result.accuracy == result.verification.accuracy
    check_representations(result)


def test_a_report_is_drawn_again(built: Build, tmp_path: Path, edgeq_command: Run) -> None:
    out = shutil.copytree(built.out, tmp_path / "out")
    result = edgeq.report(str(out))
    assert result.path == out / "report.html"
    assert json.loads(edgeq_command("report", out, "--json").out) == result.to_dict()
    check_representations(result)


def test_a_module_and_an_array_are_exported_as_a_file_and_a_npz_are(
    built: Build, tmp_path: Path, edgeq_command: Run
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (9, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", inputs=samples)
    model = module_of(built, "signed")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = edgeq.load_grid(str(built.out / "grid.safetensors"))
    result = edgeq.export(model, (3, 12, 12), samples, str(tmp_path / "mine"), grid=table)
    check_representations(result)
    assert all(bool((value == before[name]).all()) for name, value in model.state_dict().items()), "it is copied"
    ended = edgeq_command(
        *("export", "--model", f"{built.nets}:signed", "--input-shape", "3,12,12", "--out", tmp_path / "theirs"),
        *("--grid", built.out / "grid.safetensors", "--calibration-data", tmp_path / "samples.npz", "--json"),
    )
    assert ended.code == 0, ended.err
    for name in ("model.tflite", "model.onnx", "grid.safetensors"):
        assert (tmp_path / "mine" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    theirs = json.loads(ended.out)
    assert theirs["parity"] == result.to_dict()["parity"]

    proto = onnx.load(result.onnx)
    kept = proto.SerializeToString()
    converted = edgeq.convert(proto, str(tmp_path / "new" / "model.tflite"))
    assert proto.SerializeToString() == kept, "a model in memory is not changed"
    assert converted.path.read_bytes() == result.tflite.read_bytes()
    document = json.loads(edgeq_command("convert", result.onnx, converted.path, "--json").out)
    assert document == converted.to_dict()
    check_representations(converted)
    with pytest.raises(edgeq.ExportError, match="is quantized already"):
        edgeq.quantize(proto, samples, str(tmp_path / "q"))

    inspected = edgeq.inspect(str(converted.path))
    assert json.loads(edgeq_command("inspect", converted.path, "--json").out) == json.loads(inspected.to_json())
    check_representations(inspected)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((0, 3, 12, 12), np.float32), "the calibration data: input: there are no samples"),
        (np.zeros((4, 12, 12, 3), np.float32), r"of the wrong shape \(got \[4, 12, 12, 3\], wanted \[samples"),
        (np.full((4, 3, 12, 12), np.nan, np.float32), "NaN, infinite"),
        (np.zeros((4, 3, 12, 12), np.int64), "of the wrong type"),
        ({"other": np.zeros((4, 3, 12, 12), np.float32)}, "an input's array is missing"),
    ],
)
def test_arrays_that_do_not_fit(built: Build, tmp_path: Path, given: Any, told: str) -> None:
    with pytest.raises(edgeq.DataError, match=told):
        edgeq.export(module_of(built, "small"), (3, 12, 12), given, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_target_or_board_that_cannot_be(built: Build) -> None:
    with pytest.raises(edgeq.RecipeError, match="did you mean cortex-a75"):
        edgeq.bench(built.out, "cortexa75")
    with pytest.raises(edgeq.RecipeError, match="a board is one device"):
        edgeq.bench(built.out, ["cortex-a7", "cortex-a75"], edgeq.BenchRequest(via="local"))


def test_progress_is_shown_if_asked_for(built: Build, capfd: pytest.CaptureFixture[str]) -> None:
    edgeq.verify(built.out, progress="auto")
    out, err = capfd.readouterr()
    assert out == ""
    assert "== Verify" in err


def test_what_a_notebook_shows_is_escaped() -> None:
    hostile = "<script>alert(1)</script> & co"
    page = as_html((table(hostile, [hostile, "b"], [[hostile, "1"]], right={1}), hostile))
    assert "<script" not in page
    texts = cells_of(page)
    assert texts["caption"] == texts["p"] == [hostile]
    assert texts["th"][0] == texts["td"][0] == hostile
    assert 'style="text-align: right">1<' in page
    assert as_text((table("", ["", ""], [["a", "b"]]),)) == "a  b"


def test_ipython_shows_the_tables() -> None:
    class Printer:
        shown = ""

        def text(self, text: str) -> None:
            self.shown += text

    layers = (LayerParity("y", "CONV_2D", 1, 0, True), LayerParity("z", "PAD", None, 0, True))
    printer, proof = Printer(), ConversionProof(layers, 4, OutputParity(75.0, 2))
    result = edgeq.ConvertResult(Path("m.tflite"), 1234, 5, proof, ("a note",))
    result._repr_pretty_(printer, cycle=False)
    assert printer.shown.splitlines() == [
        "m.tflite  1.2 kB, 5 operations",
        "operations at most 1 code from onnxruntime's; outputs 75 % equal to the ONNX model's, at most 2 codes apart "
        "(4 samples)",
    ]
