"""The page of a finished build is drawn again from its files alone, whole or not at all, and damaged files are told."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Build, Ended
from report_samples import disagreement, history

from edgeq.errors import FormatError
from edgeq.report.content import Details
from edgeq.report.details import read_details, write_details
from edgeq.report.redraw import redraw
from edgeq.reverify import verify_build
from edgeq.snap import load_grid


@pytest.fixture
def out(built: Build, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.out, tmp_path / "out"))


def change(path: Path, key: str, value: object) -> None:
    document: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(document | {key: value}))


def test_the_page_is_drawn_again_as_it_was_and_the_manifest_knows_it(out: Path, edgeq: Callable[..., Ended]) -> None:
    built = (out / "report.html").read_text(encoding="utf-8")
    (out / "report.html").write_text("gone")
    ended = edgeq("report", out)
    assert (ended.code, ended.out, ended.err) == (0, f"{out / 'report.html'}\n", "== Report\n")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page == built
    for heading in ("Training", "Layers", "Parity", "Confusion", "Disagreements", "Sizes", "Stages"):
        assert f"<h2>{heading}</h2>" in page
    verify_build(out)  # holds every file to the manifest
    assert not list(out.glob(".*"))
    redraw(out)
    assert (out / "report.html").read_text(encoding="utf-8") == page


def test_the_details_of_a_build_are_those_of_its_verification(built: Build) -> None:
    details = read_details(built.out / "report.json")
    found = verify_build(built.out)
    counted = sum(cell[2] for cell in details.confusion)
    right = sum(truth_count for truth, answer, truth_count in details.confusion if truth == answer)
    assert counted == found.samples
    assert 100 * right / counted == pytest.approx(found.accuracy["tflite"], abs=1e-3)
    differing = found.predictions != found.float_predictions
    assert sum(details.disagreements.values()) == differing.sum()
    assert len(details.shown) == min(24, differing.sum())
    assert len(details.history) == 2
    golden = np.load(built.out / "golden.npz")["outputs"].astype(np.float64) / 256  # the softmax of uint8 scores
    few = np.linspace(0, found.samples - 1, len(golden)).round().astype(int)
    assert np.allclose(found.confidences[few], golden.max(axis=1))
    assert (found.float_confidences <= 1).all()
    assert (found.float_confidences >= 1 / golden.shape[1] - 1e-6).all()


def test_details_survive_the_file(tmp_path: Path) -> None:
    details = Details(1, "edgeq build", history(), ((0, 1, 2),), {"float": 1}, (disagreement(),))
    write_details(details, tmp_path / "report.json")
    assert read_details(tmp_path / "report.json") == details


def test_an_export_without_training_has_a_page_of_what_there_is(out: Path) -> None:
    for name in ("checkpoint.safetensors", "report.json", "labels.txt", "recipe.toml"):
        (out / name).unlink()
    manifest = json.loads((out / "manifest.json").read_text())
    for key in ("recipe", "seed", "data", "training", "accuracy"):
        del manifest[key]
    (out / "manifest.json").write_text(json.dumps(manifest | {"model": "net.onnx"}))
    redraw(out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h1>net.onnx</h1>" in page
    assert "<h2>Layers</h2>" in page
    assert page.count('class="bars"') == len(load_grid(out / "grid.safetensors"))  # codes only: nothing before the snap
    assert "<h2>Training</h2>" not in page


DAMAGE: dict[str, tuple[str, object, str]] = {
    "artifacts": ("manifest.json", 5, "artifacts"),
    "stages": ("manifest.json", [{"name": "a"}], "stages"),
    "bench": ("manifest.json", [3], "bench"),
    "estimate": (
        "manifest.json",
        [{"target": "a", "via": "b", "lane": "c", "basis": "d", "equal_bytes": True, "estimate": {"low_ms": 1}}],
        "bench.estimate",
    ),
    "accuracy": ("manifest.json", {"float": "high"}, "accuracy"),
    "parity": ("manifest.json", {"layers": [1]}, "parity"),
    "parity layers": ("manifest.json", {"layers": 1}, "parity"),
    "recipe": ("manifest.json", [], "recipe"),
    "compress": ("manifest.json", [{"method": "low-rank", "epochs": "many"}], "compress"),
    "chosen": ("manifest.json", {"compress": {"method": 1}}, "recipe.compress"),
    "data": ("manifest.json", None, "data"),
    "schema": ("report.json", 2, "schema"),
    "history": ("report.json", [{"loss": "x"}], "history"),
    "infinite": ("report.json", [{"loss": float("inf")}], "history"),
    "confusion": ("report.json", [[0, 10**6, 1]], "confusion matrix"),
    "shown": ("report.json", [{"image": "http://x"}], "shown"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_line_and_the_page_stays(out: Path, edgeq: Callable[..., Ended], name: str) -> None:
    file, value, word = DAMAGE[name]
    key = {"estimate": "bench", "parity layers": "parity", "infinite": "history", "chosen": "recipe"}.get(name, name)
    change(out / file, key, value)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    ended = edgeq("report", out)
    assert ended.code == 1
    assert word in ended.error
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_another_networks_checkpoint_is_refused(out: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(out / "checkpoint.safetensors")
    name = next(iter(load_grid(out / "grid.safetensors")))
    save_file(weights | {f"{name}.weight": weights[f"{name}.weight"][:1]}, out / "checkpoint.safetensors")
    with pytest.raises(FormatError, match="another shape in the checkpoint"):
        redraw(out)


def test_no_build_no_report(tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    assert edgeq("report", tmp_path / "absent").code == 1
    assert "cannot be read" in edgeq("report", tmp_path).error
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_page_and_manifest(out: Path, edgeq: Callable[..., Ended]) -> None:
    import resource

    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["report.html"]) - 1000, hard))
    try:
        ended = edgeq("report", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ended.code == 1
    assert "report.html" in ended.error
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_bench_is_shown_and_goes_into_the_manifest(out: Path, tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    bench = tmp_path / "bench.json"
    save(bench, emulated(out))
    ended = edgeq("report", out, "--bench", bench, "--json")
    assert ended.code == 0, ended.err
    manifest = json.loads(ended.out)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert [(entry["target"], entry["lane"]) for entry in manifest["bench"]] == [("cortex-a75", "litert")]
    page = (out / "report.html").read_text(encoding="utf-8")
    for text in ("<h2>On the device</h2>", "Roofline, estimated", "CONV_2D first &lt;&amp;&gt;: 10 GMAC/s", "75.0 %"):
        assert text in page
    verify_build(out)


def test_a_bench_of_another_file_or_target_of_ones_own(out: Path, tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    bench = tmp_path / "bench.json"
    save(bench, dataclasses.replace(emulated(out), sha256="0" * 64))
    assert "is not the file that the manifest tells of" in edgeq("report", out, "--bench", bench).error
    other = dataclasses.replace(emulated(out), sha256="0" * 64, target="cortex-a7")  # as of --compare: left out
    save(bench, dataclasses.replace(emulated(out), target="my-board"), other)
    assert edgeq("report", out, "--bench", bench).code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Where the time goes" in page
    assert "cortex-a7 " not in page
    assert "Roofline" not in page  # its limits are not known here


def save(path: Path, *results: Any) -> None:
    path.write_text(json.dumps({"results": [dataclasses.asdict(item) for item in results]}))


def emulated(out: Path) -> Any:
    """Two operations of made-up cost, of the build's own file."""
    from edgeq.bench.estimate import Estimate
    from edgeq.bench.instructions import Counts
    from edgeq.bench.kernels import KernelShare
    from edgeq.bench.result import Agreement, EmulatedLane, Emulation, OperationCount

    manifest = json.loads((out / "manifest.json").read_text())
    sha256 = next(item["sha256"] for item in manifest["artifacts"] if item["path"] == "model.tflite")
    classes: Any = {"mac": 5, "other": 5}
    counts = Counts(classes, 10, 80, 0, 0, {"sdot.q": 5}, 0)

    def estimate(ms: float) -> Estimate:
        return Estimate(ms / 2, ms, 2 * ms, ms, 0.0, None, None, None, 1, 1e9, 1.0, 0, None, "made up")

    operations = (
        OperationCount(0, "CONV_2D", "first <&>", 3_000_000, 30_000, counts, "kernel", estimate(0.3), 0.5),
        OperationCount(1, "ADD", "second", 0, 100, counts, "kernel", estimate(0.1), None),
    )
    agreement = Agreement(16, True, "codes", True, 0.0, ())
    share = (KernelShare("kernel", 0.9),)
    forms = {"sdot.q": 80}
    lane = EmulatedLane(
        "litert", "LiteRT", True, True, agreement, 3_000_000, counts, forms, share, operations, estimate(0.4)
    )
    return Emulation("cortex-a75", "model.tflite", sha256, (lane,))
