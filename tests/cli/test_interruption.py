"""Ctrl-C, kill -9 and a full disk, in processes of their own: OUT is whole or absent, and --resume goes on."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Build, Ended

STOP = """
import os, signal, sys
from edgeq.train import lightning_parts

original = lightning_parts.LastCheckpoint.on_train_epoch_end


def stop(self, trainer, module):
    original(self, trainer, module)
    if trainer.current_epoch == 0:
        os.kill(os.getpid(), signal.{name})
        {after}


lightning_parts.LastCheckpoint.on_train_epoch_end = stop
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
from edgeq.cli.main import main
main(sys.argv[1:])
"""
LIMITED = """
import resource, sys
from edgeq.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
main(sys.argv[1:])
"""


def run(script: str, arguments: list[object]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(("== ", "   "))]


def test_a_killed_training_goes_on_to_the_same_bytes(built: Build, tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    arguments = ["build", *built.arguments, "--out", tmp_path / "out"]
    ended = run(STOP.format(name="SIGKILL", after=""), arguments)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert "out" not in left(tmp_path)
    refused = edgeq(*arguments)
    assert refused.code == 1
    assert "an unfinished build is there; go on with it with --resume, or delete it: rm -r " in refused.error
    resumed = edgeq(*arguments, "--resume")
    assert resumed.code == 0, resumed.err
    assert left(tmp_path) == ["out"]
    for file in ("model.tflite", "model.onnx", "grid.safetensors", "checkpoint.safetensors", "golden.npz"):
        assert (tmp_path / "out" / file).read_bytes() == (built.out / file).read_bytes(), file


@pytest.mark.parametrize(
    ("name", "told"), [("SIGINT", "interrupted"), ("SIGTERM", "terminated"), ("SIGHUP", "terminated")]
)
def test_a_signal_in_the_middle_keeps_the_training(built: Build, tmp_path: Path, name: str, told: str) -> None:
    arguments = ["build", *built.arguments, "--out", tmp_path / "out"]
    ended = run(STOP.format(name=name, after="import time; time.sleep(30)"), arguments)
    assert ended.returncode == 128 + signal.Signals[name], ended.stderr
    (line,) = errors(ended.stderr)
    kept = "what was trained is kept; the same command with --resume goes on from the last epoch"
    assert line == f"edgeq: error: {told}; {kept}"
    assert left(tmp_path) == [".out.part"]
    assert left(tmp_path / ".out.part" / "checkpoints") == ["last.ckpt"]


def test_ctrl_c_before_the_first_checkpoint_leaves_nothing(built: Build, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeq", "build", *built.arguments, "--epochs", "100000"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("== Network"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    (line,) = errors(rest)
    assert line == "edgeq: error: interrupted; nothing was changed"
    assert left(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(built: Build, tmp_path: Path) -> None:
    """No file may grow past 300 bytes: TensorBoard's thread meets the limit first, then the main one."""
    ended = run(LIMITED, ["build", *built.arguments, "--out", tmp_path / "out"])
    assert ended.returncode == 1, ended.stderr
    (line,) = errors(ended.stderr)
    assert "the disk is full; nothing was changed" in line
    assert left(tmp_path) == []


def test_a_disk_that_fills_up_late_leaves_the_earlier_result(
    built: Build, tmp_path: Path, edgeq: Callable[..., Ended]
) -> None:
    """The report is the one file that does not fit; the training is kept for --resume."""
    shutil.copytree(built.out, tmp_path / "out")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((built.out / "report.html").stat().st_size - 1000, hard))
    try:
        ended = edgeq("build", *built.arguments, "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ended.code == 1
    assert "the disk is full; nothing was changed" in ended.error
    assert {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()} == before
    assert left(tmp_path) == [".out.part", "out"]


def test_two_builds_into_one_folder(built: Build, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeq", "build", *built.arguments, "--out", str(tmp_path / "out")]
    with subprocess.Popen([*command, "--epochs", "100000"], stderr=subprocess.PIPE, text=True) as first:
        try:
            assert first.stderr is not None
            for line in first.stderr:
                if line.startswith("== Network"):
                    break
            second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        finally:
            first.kill()
    assert second.returncode == 1
    (line,) = errors(second.stderr)
    assert "another edgeq is writing there" in line


def test_a_closed_pipe_is_no_error_worth_a_word() -> None:
    command = f"{sys.executable} -m edgeq targets show cortex-a75 --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""
    assert ended.stdout == "{"


def test_a_disk_that_is_full_is_told_as_such(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from edgeq import inspection
    from edgeq.cli.main import _run

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(inspection, "inspect_file", full)
    assert _run(["inspect", "x.tflite"]) == 1
    assert capfd.readouterr().err.startswith("edgeq: error: x.tflite: the disk is full; nothing was changed")
