"""docs/how-to/board.md does what it says: its programs are run as they stand, on a build's files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from conftest import Build

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "board.md"


def program(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def board(built: Build, tmp_path: Path) -> Path:
    """What scp leaves there."""
    for name in ("model.tflite", "labels.txt", "golden.npz"):
        shutil.copy(built.out / name, tmp_path)
    return tmp_path


def test_the_python_program(built: Build, board: Path) -> None:
    (board / "classify.py").write_text(program("python"), encoding="utf-8")
    photo = next(Path(built.images, "test", "above").glob("*.png"))
    command = [sys.executable, "classify.py", str(photo)]
    done = subprocess.run(command, cwd=board, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    with np.load(board / "golden.npz") as golden:
        assert first == f"self-test: 0 of {golden['outputs'].size} bytes differ, by 0 at most"
    labels = (board / "labels.txt").read_text().split()
    assert sorted(line.split()[-1] for line in lines) == sorted(labels)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_c_program(board: Path) -> None:
    """With the library and the flags of the page; on a board it is the same package."""
    (board / "classify.c").write_text(program("c"), encoding="utf-8")
    folder = str(ai_edge_litert.__path__[0])
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "classify.c", "-o", "classify", f"{folder}/libLiteRt.so"]
    subprocess.run([*command, f"-Wl,-rpath,{folder}"], cwd=board, check=True, timeout=120)
    with np.load(board / "golden.npz") as golden:
        _, height, width, _ = golden["inputs"].shape
        classes = golden["outputs"].shape[1]
        pixels, wanted = golden["inputs"].tobytes(), golden["outputs"].tobytes()
    arguments = ["./classify", "model.tflite", str(height), str(width), str(classes)]
    done = subprocess.run(arguments, cwd=board, input=pixels, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == wanted
    assert subprocess.run(["./classify", "model.tflite", "0", "1", "1"], cwd=board, capture_output=True).returncode == 1
