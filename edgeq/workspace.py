"""The output folder: whole or absent. Work goes on in a hidden folder beside it, which takes its place at the end."""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeq.errors import RecipeError

__all__ = ["CHECKPOINTS", "Workspace", "open_workspace"]

MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"
LOGS = "logs"


class Workspace:
    """Where a build writes until it is done. Only one process has it at a time.

    Attributes:
        out: the folder the user named, links followed.
        folder: the hidden folder beside it.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(os.path.realpath(out))
        self.folder = self.out.with_name(f".{self.out.name}.part")
        self._old = self.out.with_name(f".{self.out.name}.old")

    def recover(self) -> None:
        """If a kill fell between the two renames of :meth:`commit`, put the earlier result back."""
        if self._old.exists():
            if self.out.exists():
                shutil.rmtree(self._old)
            else:
                self._old.rename(self.out)

    def prepare(self, *, resume: bool) -> None:
        """Make the hidden folder, with what a resumed training needs and nothing else.

        Raises:
            RecipeError: an unfinished training is there and ``resume`` was not asked for.
        """
        self.folder.mkdir(exist_ok=True)
        if self.has_training() and not resume:
            raise RecipeError(
                "an unfinished build is there",
                where=self.folder,
                remedy=f"go on with it with --resume, or delete it: rm -r {self.folder}",
            )
        _clear(self.folder, keep={CHECKPOINTS, LOGS} if resume else set())
        for path in (self.folder / CHECKPOINTS).rglob(".*"):
            path.unlink()  # half a checkpoint, from a kill
        if resume and not self.has_training():
            for name in (CHECKPOINTS, LOGS):
                if (self.out / name).is_dir():
                    shutil.copytree(self.out / name, self.folder / name, dirs_exist_ok=True)

    def has_training(self) -> bool:
        """Whether the hidden folder has a checkpoint that would be lost with it."""
        mine, theirs = self.folder / CHECKPOINTS, self.out / CHECKPOINTS
        pairs = [(path, theirs / path.relative_to(mine)) for path in mine.rglob("[!.]*.ckpt")]
        return any(not (old.is_file() and filecmp.cmp(path, old)) for path, old in pairs)

    def commit(self) -> None:
        """Put the finished folder in the place of ``out``; an earlier result is removed once the new one is there."""
        mask = os.umask(0)
        os.umask(mask)
        for path in (*self.folder.rglob("*"), self.folder):
            if path.is_file():
                path.chmod(0o666 & ~mask)  # safetensors makes files that only their owner can read
            _flush(path)
        if self.out.exists():
            self.out.rename(self._old)
        self.folder.rename(self.out)
        _flush(self.out.parent)
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
    workspace = Workspace(out)
    workspace.out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(workspace.out):
        workspace.recover()
        _check_replaceable(workspace.out)
        workspace.prepare(resume=resume)
        try:
            yield workspace
        except BaseException as error:
            if workspace.has_training():
                error.add_note("what was trained is kept; the same command with --resume goes on from the last epoch")
            else:
                shutil.rmtree(workspace.folder, ignore_errors=True)
            raise


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside the folder. The kernel lets go of it when the process dies, however it dies."""
    path = out.with_name(f".{out.name}.lock")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecipeError("another edgeq is writing there", where=out, remedy="wait for it") from error
        if not _is_at(path, file.fileno()):  # the one who held it removed it and may not be the last who did
            raise RecipeError("another edgeq was writing there until now", where=out, remedy="try again")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RecipeError("the output folder is a file", where=out, remedy="choose another --out")
    if os.path.ismount(out):
        remedy = "name a folder inside it"
        raise RecipeError("the output folder is a mount point, which cannot be replaced", where=out, remedy=remedy)
    if out.is_dir() and any(out.iterdir()) and not _is_ours(out):
        raise RecipeError(
            "the output folder has files in it that edgeq did not make", where=out, remedy="choose another --out"
        )


def _is_ours(out: Path) -> bool:
    """Whether a folder has a manifest of edgeq's; other programs call their files manifest.json, too."""
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "edgeq" in manifest


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
