"""Every operation as random graphs have it: to let a new one join, add its row to a family."""

from __future__ import annotations

from arithmetic_rows import ARITHMETIC
from shape_rows import SHAPES
from window_rows import WINDOWS

__all__ = ["ROWS"]

ROWS = (*WINDOWS, *ARITHMETIC, *SHAPES)
