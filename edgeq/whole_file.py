"""Read a file, and replace one at once: whoever looks, even after a crash, finds the old one or the new one whole."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import FormatError

__all__ = ["read_whole", "write_whole"]


def read_whole(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, making the folder if need be, and put it there when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
