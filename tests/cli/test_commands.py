"""The commands on good input: what they print and where."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import Build, Ended

from edgeq.cli.main import COMMANDS, cli

Run = Callable[..., Ended]


def edgeq_process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "edgeq", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, **options)  # type: ignore[call-overload,no-any-return]


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from edgeq.cli.main import COMMANDS, _run\n"
        "assert _run(['--help']) == 0\n"
        "for name in list(COMMANDS):\n"
        "    assert _run([name, '--help']) == 0\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'lightning', 'rich', 'PIL', 'ai_edge_litert'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert all(name in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(edgeq: Run, name: str) -> None:
    ended = edgeq(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: edgeq {name} ")
    summary = COMMANDS[name].split(":")[0].rstrip(".")
    assert " ".join(summary.split()) in " ".join(ended.out.split())


def test_every_command_is_of_the_name_it_is_found_by() -> None:
    for name in COMMANDS:
        command = cli.get_command(cli.make_context("edgeq", [], resilient_parsing=True), name)
        assert command is not None
        assert command.name == name


def test_an_unknown_command_suggests_one(edgeq: Run) -> None:
    ended = edgeq("biuld")
    assert ended.code == 2
    assert "No such command 'biuld'. Did you mean build?" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments", [["build", "--bitz", "3"], ["build", "--io", "int4"], ["inspect"], ["targets", "x"]]
)
def test_wrong_usage_is_2(edgeq: Run, arguments: list[str]) -> None:
    ended = edgeq(*arguments)
    assert ended.code == 2
    assert "Usage: edgeq" in ended.err


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
    else:
        yield path, command


LEAVES = list(leaves(cli))


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_command_has_examples_that_parse_and_the_same_output_options(
    edgeq: Run, path: tuple[str, ...], command: click.Command
) -> None:
    text = edgeq(*path, "--help").out
    assert "Example" in text
    examples = re.findall(r"^ *(?:Example: )?edgeq ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    own = [example for example in examples if example.split()[: len(path)] == list(path)]
    assert own or path == ("completion",)
    if path != ("completion",):
        for words in ("--json ", "-q, --quiet", "-v, --verbose"):
            assert words in text
        refused = edgeq(*path, *["x"] * sum(isinstance(item, click.Argument) for item in command.params), "-q", "-v")
        assert refused.code == 2
        assert "--quiet and --verbose exclude each other" in refused.err or "Missing option" in refused.err


def test_options_that_set_a_recipe_are_sorted_by_its_parts(edgeq: Run) -> None:
    text = edgeq("build", "--help").out
    places = [text.index(title) for title in ("Network and device:", "Data:", "Training:", "Int8 artifact:", "Output:")]
    assert places == sorted(places)
    assert places[2] < text.index("--learning-rate") < places[3]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["build", "--bist", "3"], "'--bits'"),
        (["targets", "shwo", "x"], "Did you mean show?"),
        (["reproduce", "tabel1"], "Did you mean table1?"),
        (["reproduce", "nothing"], "Known: "),
        (["build", "--model", "lenet4", "--data", "absent"], "did you mean lenet5?"),
    ],
)
def test_what_is_mistyped_gets_the_nearest(edgeq: Run, arguments: list[str], told: str) -> None:
    assert told in edgeq(*arguments).err


def test_version(edgeq: Run) -> None:
    from edgeq import __version__

    assert edgeq("--version").out == f"edgeq {__version__}\n"


def test_no_colour_where_there_is_no_terminal() -> None:
    for arguments in (["--help"], ["build", "--bits", "1"], ["targets"]):
        ended = edgeq_process(*arguments)
        assert "\x1b" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_gets_colour_unless_the_user_wants_none(colour: bool) -> None:
    import pty

    main, side = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"})
    process = subprocess.Popen([sys.executable, "-m", "edgeq", "build", "--bits", "1"], stderr=side, env=environment)
    assert process.wait(timeout=60) == 1
    os.close(side)
    shown = os.read(main, 10_000).decode()
    os.close(main)
    assert "edgeq: error:" in shown
    assert ("\x1b[31m" in shown) is colour


def test_build_prints_one_json_document_and_nothing_else(built: Build, tmp_path: Path) -> None:
    ended = edgeq_process("build", *built.arguments, "--epochs", 1, "--out", tmp_path / "out", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "== Training" in ended.stderr
    assert "Warning" not in ended.stderr


def test_what_train_leaves_is_what_export_takes(built: Build, tmp_path: Path, edgeq: Run) -> None:
    ended = edgeq("train", *built.arguments, "--out", tmp_path / "trained")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("accuracy: float ")
    trained = tmp_path / "trained"
    assert (trained / "grid.safetensors").read_bytes() == (built.out / "grid.safetensors").read_bytes()
    ended = edgeq(
        *("export", "--model", f"{built.nets}:signed", "--checkpoint", trained / "checkpoint.safetensors"),
        *("--grid", trained / "grid.safetensors", "--input-shape", "3,12,12", "--calibration-data"),
        *(Path(built.images) / "train", "--out", tmp_path / "exported"),
    )
    assert ended.code == 0, ended.err
    assert "integers in both files" in ended.out
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {
        "grid.safetensors",
        "manifest.json",
        "model.onnx",
        "model.tflite",
    }
    for folder, heading in ((trained, "Training"), (tmp_path / "exported", "Parity")):
        ended = edgeq("report", folder)
        assert ended.code == 0, ended.err
        assert f"<h2>{heading}</h2>" in (folder / "report.html").read_text(encoding="utf-8")


def write_foreign_onnx(path: Path) -> None:
    """Names that are no module's, a MatMul, and a Gemm with the inputs first, all of it square."""
    import onnx
    from onnx import helper, numpy_helper

    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((random.standard_normal(shape) * 0.3).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "conv1_w", "conv1_b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "onnx::MatMul_12"], ["m"]),
        helper.make_node("Relu", ["m"], ["mr"]),
        helper.make_node("Gemm", ["mr", "gw", "gb"], ["y"]),
    ]
    source = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 10])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 8])
    constants = [
        constant("conv1_w", 8, 3, 3, 3),
        constant("conv1_b", 8),
        constant("onnx::MatMul_12", 8, 8),
        constant("gw", 8, 8),
        constant("gb", 8),
    ]
    graph = helper.make_graph(nodes, "g", [source], [result], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_quantize_takes_a_foreign_model_and_convert_what_it_made(tmp_path: Path, edgeq: Run) -> None:
    write_foreign_onnx(tmp_path / "foreign.onnx")
    samples = np.random.default_rng(1).standard_normal((8, 3, 8, 10)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)
    ended = edgeq(
        *("quantize", tmp_path / "foreign.onnx", "--calibration-data", tmp_path / "samples.npz"),
        *("--out", tmp_path / "q", "--json"),
    )
    assert ended.code == 0, ended.err
    manifest = json.loads(ended.out)
    weights = 8 * 3 * 3 * 3 + 8 * 8 + 8 * 8
    assert manifest["parity"]["codes_kept"] == manifest["parity"]["codes"] == weights
    ended = edgeq("convert", tmp_path / "q" / "model.onnx", tmp_path / "new" / "model.tflite", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["bytes"] == (tmp_path / "new" / "model.tflite").stat().st_size
    assert (tmp_path / "new" / "model.tflite").read_bytes() == (tmp_path / "q" / "model.tflite").read_bytes()
    ended = edgeq("quantize", tmp_path / "q" / "model.onnx", "--calibration-data", tmp_path / "samples.npz")
    assert ended.code == 1
    assert "is quantized already; use edgeq convert" in ended.error


def test_samples_are_taken_from_all_over_the_file(tmp_path: Path, edgeq: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted by class as such files often are, the first few would show one class only."""
    from edgeq import artifact

    write_foreign_onnx(tmp_path / "foreign.onnx")
    (tmp_path / "few.toml").write_text("samples = 3\n")
    samples = np.broadcast_to(np.arange(1, 102, dtype=np.float32).reshape(-1, 1, 1, 1), (101, 3, 8, 10))
    np.savez(tmp_path / "samples.npz", inputs=samples)
    seen: list[float] = []
    original = artifact.make_artifact

    def spy(model: object, trained: object, given: dict[str, np.ndarray], *rest: object, **more: object) -> object:
        seen.extend(given["x"][:, 0, 0, 0].tolist())
        return original(model, trained, given, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(artifact, "make_artifact", spy)
    ended = edgeq(
        *("quantize", tmp_path / "foreign.onnx", "--calibration-data", tmp_path / "samples.npz"),
        *("--calibration", tmp_path / "few.toml", "--out", tmp_path / "q"),
    )
    assert ended.code == 0, ended.err
    assert seen == [1, 51, 101]


def test_verify_passes_on_a_good_build(built: Build, edgeq: Run) -> None:
    ended = edgeq("verify", built.out, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    manifest = json.loads((built.out / "manifest.json").read_text())
    assert found["accuracy"] == manifest["accuracy"]
    assert found["parity"]["codes_kept"] == manifest["parity"]["codes"]
    ended = edgeq("verify", built.out)
    assert "LiteRT, reference kernels" in ended.out
    assert "no: XNNPACK" in ended.out


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_inspect_tells_the_same_operations_in_words_and_in_json(built: Build, edgeq: Run, name: str) -> None:
    ended = edgeq("inspect", built.out / name, "--tensors")
    assert (ended.code, ended.err) == (0, "")
    assert "conv1.weight" in ended.out
    found = json.loads(edgeq("inspect", built.out / name, "--json").out)
    assert found["macs"] > 0
    assert len(found["operations"]) == sum(found["counts"].values())


def test_targets(edgeq: Run) -> None:
    names = [item["name"] for item in json.loads(edgeq("targets", "list", "--json").out)]
    assert "cortex-a75" in names
    assert "cortex-a75" in edgeq("targets").out
    assert "Naumov" in edgeq("targets", "show", "cortex-a75").out
    assert json.loads(edgeq("targets", "show", "cortex-a75", "--json").out)["cores"] == 4
    ended = edgeq("targets", "show", "cortex-75")
    assert ended.code == 1
    assert "did you mean cortex-a75?" in ended.error


def test_doctor_finds_this_installation_whole(edgeq: Run) -> None:
    rows = {row["name"]: row["state"] for row in json.loads(edgeq("doctor", "--json").out)}
    assert rows["torch"] == rows["python"] == rows["training"] == "ok"


def test_doctor_knows_every_dependency() -> None:
    import tomllib

    from edgeq.cli.doctor import NEEDED

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    names = {line.split(">")[0] for line in project["dependencies"]}
    assert set(NEEDED) == names - {"click"}


def test_doctor_says_what_is_missing(edgeq: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeq.cli import doctor

    monkeypatch.setattr(doctor, "NEEDED", (*doctor.NEEDED, "no-such-package"))
    ended = edgeq("doctor")
    assert ended.code == 1
    assert "missing" in ended.out
    assert "no-such-package" in ended.error
