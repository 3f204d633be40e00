"""What a stream can show: colours, live lines, letters beyond ASCII."""

from __future__ import annotations

import os
from typing import TextIO

__all__ = ["colour_setting", "is_live", "is_unicode", "wants_drawing"]

_DUMB = ("dumb", "unknown")


def colour_setting() -> bool | None:
    """Whether colours are off or on whatever the stream is; None: on where it is a terminal.

    Sources: https://no-color.org, https://force-color.org; a dumb terminal has none.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM", "") in _DUMB else None


def is_live(stream: TextIO) -> bool:
    """Whether lines on it can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "") not in _DUMB


def is_unicode(stream: TextIO) -> bool:
    """Whether it takes more than ASCII."""
    return (stream.encoding or "ascii").lower().startswith("utf")


def wants_drawing(stream: TextIO) -> bool:
    """Whether tables are drawn on it, instead of set in columns of plain text."""
    return stream.isatty() or colour_setting() is True
