"""The files of a folder or an archive as one stream of members, and the rule for their names. Reads nothing itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import DataError

__all__ = ["Member", "Source", "has_control_characters", "member_name", "shown"]

# C0, DEL, C1, the Unicode line and paragraph separators, and bytes that were no UTF-8 (surrogates).
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Member:
    """One file or folder.

    Attributes:
        name: relative, parts joined by ``/``, without ``.`` and ``..``.
        is_folder: a folder; it has nothing to read.
        units: how far the progress bar moves when this member is done.
        read: the whole content; only until the next member is asked for. Raises DataError.
    """

    name: str
    is_folder: bool
    units: int
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """What a folder or an archive holds.

    Attributes:
        path: where it lies.
        units: the sum of the members' units.
        names: the names of all files where they are known beforehand (folder, zip); None for a tar.
        members: the members in the source's order, hidden ones left out; to be gone through once.
    """

    path: Path
    units: int
    names: tuple[str, ...] | None
    members: Generator[Member, None, None]


def has_control_characters(text: str) -> bool:
    """Whether a name holds a line break or another character that must not reach a label file or a terminal."""
    return bool(_CONTROL.search(text))


def shown(name: str) -> str:
    """A name from outside as it may be printed."""
    return ascii(name) if has_control_characters(name) else name


def member_name(raw: str, archive: Path) -> str | None:
    """The clean relative name of an archive's member.

    Returns:
        The name; None where it is the top itself or a hidden file (a part that starts with a dot, ``__MACOSX``).

    Raises:
        DataError: an absolute name or one with ``..``.
    """
    if raw.startswith("/") or _DRIVE.match(raw):
        raise DataError(
            "a member has an absolute path", where=archive, got=shown(raw), wanted="a path inside the archive"
        )
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DataError(
            "a member's path leaves the archive", where=archive, got=shown(raw), wanted="a path inside the archive"
        )
    if not parts or any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    return "/".join(parts)
