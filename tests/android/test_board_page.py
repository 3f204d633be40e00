"""docs/how-to/board.md does what it says: its programs are run as they stand on a build, here and as ARM code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ai_edge_litert
import numpy as np
import pytest
from conftest import Build
from needs import needs_downloads
from numpy.typing import NDArray

from edgeq.bench import qemu
from edgeq.bench.litert_library import LITERT_PACKAGES, litert_library
from edgeq.bench.sysroot import guest_root, library_folders
from edgeq.bench.tflite_runtime import TFLITE_RUNTIME_PACKAGES, tflite_runtime_guest
from edgeq.bench.toolchain import find_compiler, find_qemu
from edgeq.targets import load_target

# Debian's Pillow and what it links.
PILLOW_PACKAGES = (
    *("python3-pil", "libdeflate0", "libimagequant0", "libjbig0", "libjpeg62-turbo", "liblcms2-2", "liblerc4"),
    *("liblzma5", "libopenjp2-7", "libraqm0", "libtiff6", "libwebp7", "libwebpdemux2", "libwebpmux3", "libzstd1"),
    *("libbsd0", "libgomp1", "libmd0", "libxau6", "libxcb1", "libxdmcp6"),
)

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


@needs_downloads
@pytest.mark.slow
def test_the_python_program_on_32_bits(built: Build, board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's Python and Pillow with tflite-runtime as ARMv7 code; its kernels round ties in another way."""
    target = load_target("cortex-a7")
    guest = tflite_runtime_guest(target)
    root = guest_root("armhf", target, (*TFLITE_RUNTIME_PACKAGES, *PILLOW_PACKAGES))
    text = program("python").replace("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
    (board / "classify.py").write_text(text, encoding="utf-8")
    photo = next(Path(built.images, "test", "above").glob("*.png"))
    monkeypatch.chdir(board)
    assert target.qemu_cpu is not None
    done = qemu.run(
        root / guest.program.relative_to(guest.root),
        ["classify.py", str(photo)],
        arch="armhf",
        cpu=target.qemu_cpu,
        root=root,
        library_folders=[root / folder.relative_to(guest.root) for folder in guest.library_folders],
        timeout_s=300,
        environment={"PYTHONPATH": guest.environment["EDGEQ_TFLITE_RUNTIME"], "PYTHONDONTWRITEBYTECODE": "1"},
    )
    first, *lines = done.stdout.splitlines()
    match = re.fullmatch(r"self-test: (\d+) of 32 bytes differ, by (\d+) at most", first)
    assert match, first
    assert int(match[2]) <= 1
    assert sorted(line.split()[-1] for line in lines) == ["above", "below"]


def differences(command: list[str], board: Path) -> NDArray[np.int_]:
    """What the page's C program gives for the golden inputs, less the golden outputs."""
    with np.load(board / "golden.npz") as golden:
        inputs, wanted = golden["inputs"], golden["outputs"]
    arguments = ["model.tflite", *map(str, (*inputs.shape[1:3], wanted.shape[1]))]
    run: dict[str, Any] = {"cwd": board, "capture_output": True, "timeout": 120}
    done = subprocess.run([*command, *arguments], input=inputs.tobytes(), **run)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([*command, "model.tflite", "0", "1", "1"], **run).returncode == 1
    found: NDArray[np.int_] = np.frombuffer(done.stdout, np.uint8).reshape(wanted.shape).astype(int) - wanted
    return found


def compile_c(compiler: str, board: Path, library: Path, *flags: str) -> None:
    """With the flags of the page."""
    (board / "classify.c").write_text(program("c"), encoding="utf-8")
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "classify.c", "-o", "classify", str(library)]
    subprocess.run([*command, f"-Wl,-rpath,{library.parent}", *flags], cwd=board, check=True, timeout=120)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_c_program(board: Path) -> None:
    compile_c("gcc", board, Path(ai_edge_litert.__path__[0]) / "libLiteRt.so")
    assert not differences(["./classify"], board).any()


@needs_downloads
@pytest.mark.slow
def test_the_c_program_on_64_bits(board: Path) -> None:
    """With the library that pip installs on such a board; a softmax between two codes may go to the other."""
    target = load_target("cortex-a75")
    root = guest_root("aarch64", target, LITERT_PACKAGES)
    links = [f"-Wl,-rpath-link,{folder}" for folder in library_folders(root, "aarch64")]
    compile_c(str(find_compiler("aarch64")), board, litert_library("aarch64").runtime, *links)
    assert target.qemu_cpu is not None
    apart = differences([str(find_qemu("aarch64")), "-cpu", target.qemu_cpu, "-L", str(root), "./classify"], board)
    assert np.abs(apart).max() <= 1
    assert (apart != 0).mean() < 0.1
