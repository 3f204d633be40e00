"""The output folder: whole or absent. Work goes on in a hidden folder beside it, which takes its place at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeq.errors import RecipeError

__all__ = ["Workspace", "open_workspace"]

MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"


class Workspace:
    """Where a build writes until it is done.

    Attributes:
        out: the folder the user named.
        folder: the hidden folder beside it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.parent / f".{out.name}.part"
        self._old = out.parent / f".{out.name}.old"

    def recover(self) -> None:
        """If a kill fell between the two renames of :meth:`commit`, put the earlier result back."""
        if self._old.exists():
            if self.out.exists():
                shutil.rmtree(self._old)
            else:
                self._old.rename(self.out)

    def commit(self) -> None:
        """Put the finished folder in the place of ``out``; an earlier result is removed once the new one is there."""
        (self.folder / ".lock").unlink(missing_ok=True)
        mask = os.umask(0)
        os.umask(mask)
        for path in (*self.folder.iterdir(), self.folder):
            if path.is_file():
                path.chmod(0o666 & ~mask)  # safetensors makes files that only their owner can read
            _flush(path)
        if self.out.exists():
            self.out.rename(self._old)
        self.folder.rename(self.out)
        shutil.rmtree(self._old, ignore_errors=True)


@contextmanager
def open_workspace(out: Path, *, resume: bool = False) -> Iterator[Workspace]:
    """A workspace for ``out``, held by this process alone.

    Args:
        out: the output folder; absent, empty, or an earlier result of edgeq, which is replaced at the end.
        resume: go on with what an interrupted run left, or from the checkpoints of the finished ``out``.

    Raises:
        RecipeError: ``out`` is something else, another process is building there, or an interrupted training is
            there and ``resume`` was not asked for.
    """
    out = Path(os.path.abspath(out))
    workspace = Workspace(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    workspace.recover()
    if out.exists() and not out.is_dir():
        raise RecipeError("the output folder is a file", where=out, remedy="choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise RecipeError(
            "the output folder has files in it that edgeq did not make", where=out, remedy="choose another --out"
        )
    folder = workspace.folder
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecipeError("another edgeq is writing there", where=out, remedy="wait for it") from error
        checkpoints = folder / CHECKPOINTS
        trained = checkpoints.is_dir() and any(checkpoints.iterdir())
        if trained and not resume:
            raise RecipeError(
                "an unfinished build is there",
                where=folder,
                remedy=f"go on with it with --resume, or delete it: rm -r {folder}",
            )
        _clear(folder, keep={".lock", CHECKPOINTS, "logs"} if resume else {".lock"})
        if resume and not trained and (out / CHECKPOINTS).is_dir():
            shutil.copytree(out / CHECKPOINTS, checkpoints, dirs_exist_ok=True)
        try:
            yield workspace
        except BaseException:
            if not (checkpoints.is_dir() and any(checkpoints.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _clear(folder: Path, keep: set[str]) -> None:
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _flush(path: Path) -> None:
    """Have the disk hold what was written before the folder is renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
