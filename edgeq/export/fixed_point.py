"""Dynamic fixed point: every scale of a file is a power of two. The grids are made so elsewhere; here it is checked."""

from __future__ import annotations

import numpy as np

from edgeq.errors import ExportError
from edgeq.tflite.model import Graph

__all__ = ["check_fixed_point", "is_power_of_two"]


def check_fixed_point(graph: Graph) -> None:
    """Refuse a graph with another scale.

    Raises:
        ExportError: names the first tensor.
    """
    for tensor in graph.tensors:
        grid = tensor.quantization
        if grid is not None and not grid.is_float and not is_power_of_two(grid.scale):
            raise ExportError(
                "a grid of the file is not in fixed point", where=f"tensor {tensor.name}",
                got=f"a scale of {float(grid.scale[~_powers(grid.scale)][0]):.6g}", wanted="a power of two",
                remedy="a batch norm without a layer before it, trained codes or an operation with a grid of its own; "
                "leave the scale format free",
            )  # fmt: skip


def is_power_of_two(scale: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bool:
    """Whether each scale is one."""
    return bool(_powers(scale).all())


def _powers(
    scale: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray(np.frexp(scale)[0] == 0.5)
