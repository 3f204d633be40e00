"""A small float network for each row of the operations table, and what it should become."""

from __future__ import annotations

from arithmetic_cases import ACTIVATION, ELEMENTWISE, REDUCE, SELECT
from dense_cases import DENSE
from norm_cases import DECOMPOSED, NORM
from operation_case import IMAGE, Case, Shape
from shape_cases import SHAPE
from window_cases import CONV, CONV_TRANSPOSE, POOL, RESIZE

__all__ = ["CASES", "IMAGE", "Case", "Shape"]

CASES = (
    *CONV, *CONV_TRANSPOSE, *DENSE, *POOL, *REDUCE, *RESIZE, *ELEMENTWISE, *SELECT, *ACTIVATION, *SHAPE, *NORM,
    *DECOMPOSED,
)  # fmt: skip
