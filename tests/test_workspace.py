from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeq.errors import RecipeError
from edgeq.workspace import Workspace, open_workspace


def build(out: Path, text: str = "new", *, resume: bool = False) -> None:
    with open_workspace(out, resume=resume) as work:
        (work.folder / "model.tflite").write_text(text)
        (work.folder / "manifest.json").write_text(json.dumps({"edgeq": "0", "schema": 1}))
        work.commit()


def fail(out: Path, error: BaseException, act: Callable[[Workspace], None], *, resume: bool = False) -> None:
    with open_workspace(out, resume=resume) as work:
        act(work)
        raise error


def nothing(work: Workspace) -> None:
    pass


def half(work: Workspace) -> None:
    (work.folder / "model.tflite").write_text("half")


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def checkpoint(work: Workspace, text: str = "epoch 1") -> None:
    (work.folder / "checkpoints").mkdir(exist_ok=True)
    (work.folder / "checkpoints" / "last.ckpt").write_text(text)


def test_a_finished_build_is_all_that_is_left(tmp_path: Path) -> None:
    build(tmp_path / "deep" / "out")
    assert left(tmp_path / "deep") == ["out"]
    assert left(tmp_path / "deep" / "out") == ["manifest.json", "model.tflite"]


def test_a_second_build_takes_the_place_of_the_first(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    build(tmp_path / "out", "new")
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "model.tflite").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_build_that_fails_leaves_nothing_and_the_earlier_result_whole(
    tmp_path: Path, error: type[BaseException]
) -> None:
    build(tmp_path / "out", "old")
    with pytest.raises(error):
        fail(tmp_path / "out", error(), half)
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "model.tflite").read_text() == "old"


def test_files_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out") as work:
        (work.folder / "model.tflite").touch(mode=0o600)
        work.commit()
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "out" / "model.tflite").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_kill_between_the_two_renames_is_made_good(tmp_path: Path) -> None:
    build(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.old")
    (tmp_path / ".out.part").mkdir()
    with pytest.raises(ValueError, match="stop"):
        fail(tmp_path / "out", ValueError("stop"), nothing)
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "model.tflite").read_text() == "old"


def test_a_kill_after_the_second_rename_leaves_the_new_result(tmp_path: Path) -> None:
    build(tmp_path / "out", "new")
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.old" / "model.tflite").write_text("old")
    with pytest.raises(ValueError, match="stop"):
        fail(tmp_path / "out", ValueError("stop"), nothing)
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "model.tflite").read_text() == "new"


@pytest.mark.parametrize("manifest", [None, "{}", '{"manifest_version": 3}', "[" * 100_000, '["edgeq"]'])
def test_a_folder_that_is_not_edgeqs_is_left_alone(tmp_path: Path, manifest: str | None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    with pytest.raises(RecipeError, match=r"edgeq did not make; choose another --out"):
        build(out)
    assert left(tmp_path) == ["out"]
    assert (out / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_is_fine_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecipeError, match="is a file"):
        build(tmp_path / "file")
    assert left(tmp_path) == ["file", "out"]


def test_a_mount_point_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(RecipeError, match="mount point"):
        build(tmp_path / "out")


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The large disk that a link leads to is where the user wants the result."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "result")
    build(tmp_path / "out", "first")
    build(tmp_path / "out", "second")
    assert (tmp_path / "out").is_symlink()
    assert left(tmp_path / "disk") == ["result"]
    assert (tmp_path / "disk" / "result" / "model.tflite").read_text() == "second"


def test_a_second_process_is_refused_while_the_first_works(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out") as work:
        (work.folder / "model.tflite").write_text("half")
        with pytest.raises(RecipeError, match="another edgeq is writing there"):
            build(tmp_path / "out")
        assert (work.folder / "model.tflite").read_text() == "half"
        (work.folder / "manifest.json").write_text('{"edgeq": "0"}')
        work.commit()
        with pytest.raises(RecipeError, match="another edgeq"):
            build(tmp_path / "out")
    build(tmp_path / "out")


def test_a_lock_that_a_killed_process_left_does_not_hold(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib; from edgeq.workspace import open_workspace\n"
        "with open_workspace(pathlib.Path(sys.argv[1])) as work: os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    build(tmp_path / "out")
    assert left(tmp_path) == ["out"]


def test_an_unfinished_training_is_kept_until_one_says_what_to_do_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "out", KeyboardInterrupt(), checkpoint)
    with pytest.raises(RecipeError, match=r"unfinished build .*--resume, or delete it: rm -r .*\.out\.part"):
        build(tmp_path / "out")
    build(tmp_path / "out", resume=True)
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "checkpoints" / "last.ckpt").read_text() == "epoch 1"


def test_resume_takes_up_checkpoints_and_logs_and_nothing_else(tmp_path: Path) -> None:
    def epoch(work: Workspace) -> None:
        checkpoint(work)
        half(work)
        (work.folder / "checkpoints" / ".last.ckpt.123").write_text("half")
        (work.folder / "logs").mkdir()

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "out", KeyboardInterrupt(), epoch)
    with open_workspace(tmp_path / "out", resume=True) as work:
        assert left(work.folder) == ["checkpoints", "logs"]
        assert left(work.folder / "checkpoints") == ["last.ckpt"]


def test_half_a_checkpoint_is_no_training(tmp_path: Path) -> None:
    """Killed while the first checkpoint was written: there is nothing to go on from, so nothing is in the way."""
    folder = tmp_path / ".out.part" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / ".last.ckpt.123").write_text("half")
    build(tmp_path / "out")
    assert left(tmp_path) == ["out"]


def test_resuming_a_finished_build_that_fails_leaves_it_as_it_was(tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out") as work:
        checkpoint(work)
        (work.folder / "manifest.json").write_text('{"edgeq": "0"}')
        work.commit()

    def look(work: Workspace) -> None:
        assert (work.folder / "checkpoints" / "last.ckpt").read_text() == "epoch 1"

    with pytest.raises(ValueError, match="another recipe"):
        fail(tmp_path / "out", ValueError("another recipe"), look, resume=True)
    assert left(tmp_path) == ["out"]
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "out", KeyboardInterrupt(), lambda work: checkpoint(work, "epoch 2"), resume=True)
    assert left(tmp_path) == [".out.part", "out"], "the second epoch is worth keeping"
