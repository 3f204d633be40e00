"""What kind of file the first bytes say it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from edgeq.errors import FormatError

__all__ = ["PACKAGE_MARK", "TFLITE_MARK", "FileKind", "kind_of", "require_tflite"]

TFLITE_MARK: Final = b"TFL3"  # at byte 4
PACKAGE_MARK: Final = b"EQPK"

FileKind = Literal["tflite", "edgeqpack", "zip", "pickle", "other"]


def kind_of(head: bytes) -> FileKind:
    """By the first 8 bytes; ``other`` has none of these marks, as safetensors and ONNX have none."""
    if head[4:8] == TFLITE_MARK:
        return "tflite"
    if head.startswith(PACKAGE_MARK):
        return "edgeqpack"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    return "pickle" if head.startswith(b"\x80\x02") else "other"


def require_tflite(content: bytes | memoryview, where: str | Path) -> None:
    """Refuse what has not the mark of a TFLite file.

    Raises:
        FormatError: names ``where``.
    """
    mark = bytes(content[4:8])
    if mark != TFLITE_MARK:
        raise FormatError("is no TFLite file", where=where, got=repr(mark), wanted=f"{TFLITE_MARK!r} at byte 4")
