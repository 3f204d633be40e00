"""Every command on a page is run, in a cheap variant, or stands in a table of those that are not, with the reason.

A new command is run without being told to, in a folder that has what the pages name: photos, networks, builds.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import Build, Ended
from docs_pages import NAMES, ROOT, TINY, Shown, blocks, check_manifest, commands
from PIL import Image

from edgeq.cli.main import COMMANDS, cli

# --- the tables ---------------------------------------------------------------------------------------------------

TRAINING = "--data photos --image-size 16 --model nets.py:tiny --epochs 1 --batch-size 16"

# What is put after a command's own words to make it cheap; the last word on an option counts.
CHEAPER = {
    "edgeq build": TRAINING,
    "edgeq train": TRAINING,
    "edgeq verify": "--reference-samples 8",
}

# Commands that are parsed and not run: what they look like, and why.
PARSED_ONLY = {
    r"edgeq (bench|peak) .*--via (ssh|adb)": "needs a board; tests/bench runs it over a real sshd and adb",
    r"edgeq (bench|peak) ": "counts under QEMU or times this machine; CI has `make bench-qemu`, tests/bench the parts",
    r"edgeq report .*--bench": "wants the JSON of a bench; tests/report has one",
    r"edgeq reproduce (table2|table3|methods|compression)": "trains for hours; tests/reproduce has the parts",
    r"edgeq build --method (bit-pro|binary-|bnn|bwn|xnor-|dorefa|twn|ttq)": "tests/rounding/test_rounding_pages.py",
    r"edgeq build .*--compress": "tests/compress/test_every_method.py builds the recipe of each method's page",
    r"edgeq build .*imagenet": "wants ImageNet; tests/data has small folders on disk",
    r"edgeq build .*cifar10": "trains for an hour; `make cifar10` is the same line",
}

# Programs of others, and who tries the lines that call them.
OUTSIDE = {
    ".venv/bin/edgeq": "tests/test_docs_tutorial.py",
    "./classify": "tests/android/test_board_page.py",
    "./gradlew": "needs Gradle and an Android SDK",
    "LITERT": "tests/android/test_board_page.py has the flags",
    "cd": "a change of folder",
    "gcc": "tests/android/test_board_page.py",
    "gradle": "needs Gradle",
    "pip": "installs an extra, as `make setup` does",
    "python": "tests/test_docs_tutorial.py",
    "python3": "makes an environment",
    "scp": "needs a board",
    "source": "activates the environment",
    "ssh": "needs a board",
    "ssh-copy-id": "needs a board",
    "venv/bin/pip": "downloads; on a board",
    "venv/bin/python": "tests/android/test_board_page.py",
}


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def reason_not_run(line: str) -> str | None:
    return next((reason for pattern, reason in PARSED_ONLY.items() if re.match(pattern, line)), None)


def parse(arguments: list[str]) -> click.Context:
    """Go through click's own parser, without calling the command."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and arguments:
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found is not None, f"no command {name}"
        command = found
    return command.make_context(command.name, list(arguments))


SHOWN = commands()
EDGEQ = sorted({shown.line: shown for shown in SHOWN if words(shown.line)[0] == "edgeq"}.items())


def cheap(line: str) -> list[str]:
    """A command's arguments, cheaper ones added."""
    arguments = words(line)[1:]
    return [*arguments, *CHEAPER.get(f"edgeq {arguments[0]}", "").split()]


def distinct() -> list[str]:
    """The commands to run; of those that the cheaper words make equal but for the output folder, one."""
    lines = {}
    for line, _ in EDGEQ:
        if reason_not_run(line) is None:
            context = parse(cheap(line))
            lines[context.info_name, repr(sorted({**context.params, "out": None}.items()))] = line
    return sorted(lines.values())


# --- parsed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.page}: {shown.line}")
def test_every_command_on_a_page_is_known(shown: Shown) -> None:
    program, *arguments = words(shown.line)
    if program == "edgeq":
        parse(arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert [word for word in arguments if "=" not in word and word not in targets] == []
    else:
        assert program.split("=")[0] in OUTSIDE, f"{program}: run it in a test, and say in OUTSIDE where"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_a_help_text_parses(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    lines = re.findall(r"edgeq [^|>()'\"\n]*", (command.epilog or "").replace("\\\n", " "))  # up to a pipe or a quote
    assert lines
    for line in lines:
        parse(shlex.split(line)[1:])


def test_no_row_of_the_tables_is_left_over() -> None:
    lines = [shown.line for shown in SHOWN]
    assert [pattern for pattern in PARSED_ONLY if not any(re.match(pattern, line) for line in lines)] == []
    assert OUTSIDE.keys() - {words(line)[0].split("=")[0] for line in lines} == set()


# --- run ----------------------------------------------------------------------------------------------------------

RECIPE = """
model = "nets.py:tiny"
data = { path = "photos", image_size = 16 }
train = { epochs = 1, batch_size = 16 }
"""
BOARD = next(iter(blocks(ROOT / "docs" / "how-to" / "add-a-target.md", "toml")))


FOREIGN = {"ort": "ort_int8", "nncf": "nncf", "brevitas": "brevitas", "modelopt": "modelopt_fp16"}


@pytest.fixture(scope="module")
def world(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages' commands name."""
    from edgeq.cli.main import _run

    folder = tmp_path_factory.mktemp("world")
    write_photos(folder / "photos")
    for name, source in FOREIGN.items():
        shutil.copy(ROOT / "tests" / "data" / "foreign" / f"{source}.onnx", folder / f"{name}.onnx")
    np.savez(folder / "data.npz", inputs=np.random.default_rng(0).standard_normal((8, 3, 12, 16)).astype(np.float32))
    shutil.make_archive(str(folder / "photos"), "zip", folder, "photos")
    for name in ("photos", "bits"):
        (folder / f"{name}.toml").write_text(RECIPE)
    (folder / "my-board.toml").write_text(BOARD)
    (folder / "my_package").mkdir()
    for place in (folder / "nets.py", folder / "my_package" / "nets.py"):
        place.write_text(TINY)
    for name in ("demo", "photos", "shared"):
        shutil.copytree(built.out, folder / "out" / name)
    shutil.copy(built.out / "model.onnx", folder / "tiny_qdq.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert _run([*["train", "--out", "out/trained", "-q"], *CHEAPER["edgeq train"].split()]) == 0
        assert _run(["pack", "out/demo", "--out", "demo.edgeqpack", "--quiet"]) == 0
        write_float_onnx(folder / "tiny.onnx")
    for name in ("tiny", "trained", "out/photos/checkpoint"):
        shutil.copy(folder / "out" / "trained" / "checkpoint.safetensors", folder / f"{name}.safetensors")
    shutil.copy(folder / "out" / "trained" / "grid.safetensors", folder / "trained_grid.safetensors")
    for name in ("float", "teacher"):
        shutil.copytree(folder / "out" / "trained", folder / "out" / name)
    return folder


def write_float_onnx(path: Path) -> None:
    import onnx_ir as ir

    from edgeq.export.float_onnx import export_float
    from edgeq.models.factory import call_factory

    ir.save(export_float(call_factory("nets.py:tiny"), [(3, 16, 16)]), path)


def write_photos(folder: Path) -> None:
    """Ten classes, as the network of the page has."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for label in range(10):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(20 * label, 20 * label + 60, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")


@pytest.mark.parametrize("line", distinct())
def test_every_other_command_runs(
    line: str, world: Path, edgeq: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(world)
    arguments = cheap(line)
    if "--resume" in arguments:
        assert edgeq(*(word for word in arguments if word != "--resume")).code == 0
    ended = edgeq(*arguments)
    assert ended.code == 0, ended.err


def test_every_manifest_is_what_its_schema_says(world: Path) -> None:
    """Of a training, and of what was exported and quantized meanwhile."""
    found = sorted(world.glob("out/*/manifest.json"))
    assert found
    for path in found:
        check_manifest(json.loads(path.read_text(encoding="utf-8")))


# --- programs -----------------------------------------------------------------------------------------------------

# Pages whose Python is run elsewhere, and what is put in place of what takes long.
RUN_ELSEWHERE = {
    "docs/how-to/board.md": "tests/android/test_board_page.py",
    "docs/how-to/convert.md": "quantizers of others; tests/data/foreign/make.py calls them so",
    "docs/how-to/own-model.md": "the nets.py of these tests",
    "docs/tutorial/digits.md": "tests/test_docs_tutorial.py",
    "docs/tutorial/photos.md": "tests/test_docs_tutorial.py",
}
IN_PLACE_OF = {
    "edgeq.Recipe(bits=8)": 'edgeq.load_recipe("photos.toml")',
    "(3, 64, 64), samples": "(3, 8, 8), samples",
    'edgeq.bench(result, ["cortex-a7", "cortex-a75"])': "None",  # needs QEMU
    'devices=2, num_nodes=1, strategy="ddp"': 'devices=1, accelerator="cpu"',
}
PROGRAMS = [name for name in NAMES if blocks(ROOT / name, "python") and name not in RUN_ELSEWHERE]


@pytest.fixture
def no_nets() -> Iterator[None]:
    """Other tests have modules called nets, too; Python remembers them by name."""
    forget_nets()
    yield
    forget_nets()


def forget_nets() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("nets", "my_package")]:
        del sys.modules[name]


@pytest.mark.usefixtures("no_nets")
@pytest.mark.parametrize("page", PROGRAMS)
def test_the_programs_of_a_page_run(page: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, with what a reader has before the first: a network, its loss, its images."""
    import torch
    from lightning import Trainer
    from torch import nn

    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(world)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loader = [(torch.rand(2, 3, 8, 8), torch.tensor([0, 2]))] * 4
    names = {
        "__name__": "__main__",
        "Trainer": Trainer,
        "batches": loader,
        "epochs": 1,
        "loader": loader,
        "loss": nn.functional.cross_entropy,
        "model": model,
        "samples": torch.rand(8, 3, 8, 8).numpy(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
    }
    if page == "README.md":
        names["loss"] = model(loader[0][0]).sum()
    for block in blocks(ROOT / page, "python"):
        for words_of_page, cheaper in IN_PLACE_OF.items():
            block = block.replace(words_of_page, cheaper)
        exec(compile(block, page, "exec"), names)
    if page == "docs/how-to/own-loop.md":
        moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
        assert all(moved)
        assert (world / "grid.safetensors").is_file()


def test_no_row_of_the_program_tables_is_left_over() -> None:
    everything = "".join(block for name in PROGRAMS for block in blocks(ROOT / name, "python"))
    assert all(words_of_page in everything for words_of_page in IN_PLACE_OF)
    assert all(blocks(ROOT / name, "python") for name in RUN_ELSEWHERE)
