"""From a path to a stream of members: a folder, a zip or a tar, told apart by content and not by name."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from edgeq.data.limits import MAX_DEPTH, MAX_MEMBERS, read_member
from edgeq.data.members import Member, Source, shown
from edgeq.data.tar_archive import tar_source
from edgeq.data.zip_archive import zip_source
from edgeq.errors import DataError
from edgeq.progress import Progress, Task

__all__ = ["open_source", "reading"]

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


def open_source(path: Path) -> Source:
    """Open a folder, a .zip, or a .tar that may be compressed by gzip, bzip2 or xz.

    Raises:
        DataError: there is nothing at the path, it is none of these, or it cannot be read.
    """
    if path.is_dir():
        return _folder_source(path)
    if not path.is_file():
        raise DataError(
            "no such folder or archive", where=path, wanted="digits, a folder, a .zip or a .tar[.gz|.xz|.bz2]"
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise DataError("cannot be read", where=path, got=error.strerror) from error
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_source(path)
    if head.startswith(_COMPRESSED) or head[257:262] == b"ustar" or path.suffix == ".tar":
        return tar_source(path)
    raise DataError("is no archive that is known", where=path, wanted="a folder, a .zip or a .tar[.gz|.xz|.bz2]")


@contextmanager
def reading(source: Source, progress: Progress) -> Iterator[Iterator[Member]]:
    """The members of a source, with a progress bar that moves in some 200 steps; closes the source."""
    label = f"read {shown(source.path.resolve().name)}"
    with closing(source.members), progress.task(label, source.units) as task:
        yield _counted(source, task)


def _counted(source: Source, task: Task) -> Iterator[Member]:
    pending = 0
    for member in source.members:
        yield member
        pending += member.units
        if pending * 200 >= source.units:
            task.advance(pending)
            pending = 0
    task.advance(pending)


def _folder_source(top: Path) -> Source:
    try:
        entries = sorted(_walk(top, "", 0))
    except OSError as error:
        raise DataError("cannot be read", where=error.filename or top, got=error.strerror) from error
    files = tuple(name for name, is_folder in entries if not is_folder)

    def members() -> Generator[Member, None, None]:
        for name, is_folder in entries:
            yield Member(name, is_folder, int(not is_folder), partial(read_member, top / name))

    return Source(top, len(files), files, members())


def _walk(top: Path, prefix: str, depth: int) -> list[tuple[str, bool]]:
    """The names below a folder and whether each is a folder; links are followed, as the user put them there."""
    if depth > MAX_DEPTH:
        raise DataError(
            "folders lie too deep, or a link loops", where=top / shown(prefix), wanted=f"{MAX_DEPTH} at most"
        )
    found: list[tuple[str, bool]] = []
    with os.scandir(top / prefix) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            name = prefix + entry.name
            if entry.is_dir():
                found.append((name, True))
                found += _walk(top, name + "/", depth + 1)
            elif entry.is_file():
                found.append((name, False))
    if len(found) > MAX_MEMBERS:
        raise DataError("too many files", where=top, wanted=f"at most {MAX_MEMBERS}")
    return found
