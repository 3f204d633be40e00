"""What a row of the operations table says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeq.tflite.lower import Rule

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One ONNX operation and its int8 form.

    Attributes:
        onnx: the ONNX operation.
        tflite: the TFLite operations it may become, for the table in the docs.
        lower: adds them to the graph.
        grid: ``same`` where TFLite's kernel wants input and output on one grid; ``free`` otherwise.
        fixed_grid: the output's (scale, zero point) where TFLite fixes it.
        limits: what is refused or added, for the table in the docs; docs/reference/operations.md is generated from it.
    """

    onnx: str
    tflite: str
    lower: Rule
    grid: Literal["free", "same"] = "free"
    fixed_grid: tuple[float, int] | None = None
    limits: str = ""
