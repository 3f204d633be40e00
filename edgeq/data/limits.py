"""How much an input from outside may take before it is refused. Each limit is checked before the memory is taken."""

from __future__ import annotations

import os
from pathlib import Path

from edgeq.data.members import shown
from edgeq.errors import DataError

__all__ = [
    "MAX_DEPTH",
    "MAX_IMAGE_PIXELS",
    "MAX_MEMBERS",
    "MAX_MEMBER_BYTES",
    "MAX_TOTAL_BYTES",
    "read_member",
    "require_memory",
]

MAX_MEMBER_BYTES = 64 << 20  # one file: a CIFAR batch is 31 MB, a photograph below 20 MB
MAX_TOTAL_BYTES = 16 << 30  # all files of an archive, unpacked
MAX_MEMBERS = 4_000_000
MAX_IMAGE_PIXELS = 64_000_000
MAX_DEPTH = 16  # folders inside folders; also ends a loop of links

_MEMINFO = Path("/proc/meminfo")


def require_memory(size_bytes: int, *, where: object, remedy: str) -> None:
    """Refuse an allocation that the machine cannot hold.

    Args:
        size_bytes: what is about to be allocated.
        where: the file or folder that asks for it.
        remedy: what the user can do about it.

    Raises:
        DataError: it exceeds the memory that is available now.
    """
    available = _available_bytes()
    if size_bytes > available:
        raise DataError(
            "does not fit into memory",
            where=where,
            got=f"{size_bytes / 2**20:,.0f} MiB",
            wanted=f"at most {available / 2**20:,.0f} MiB",
            remedy=remedy,
        )


def _available_bytes() -> int:
    """Memory that can be had without swapping; all of it where the kernel does not tell (macOS)."""
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def read_member(path: Path) -> bytes:
    """The whole content of one file.

    Raises:
        DataError: it cannot be read, or is larger than a file of images may be.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_MEMBER_BYTES + 1)
    except OSError as error:
        raise DataError("cannot be read", where=shown(str(path)), got=error.strerror) from error
    if len(content) > MAX_MEMBER_BYTES:
        raise DataError("the file is too large", where=shown(str(path)), wanted=f"at most {MAX_MEMBER_BYTES} bytes")
    return content
