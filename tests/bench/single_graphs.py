"""TFLite graphs of one operation on grids of one's choice, and samples for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.tflite.model import Graph, Operator, Quantization, Tensor

__all__ = ["activation", "constant", "samples_of", "single"]


def activation(name: str, shape: tuple[int, ...], dtype: str = "int8", scale: float = 1.0, zero: int = 0) -> Tensor:
    """A tensor that is not constant; the grid is of 8-bit types only."""
    grid = None if dtype == "float32" else Quantization.per_tensor(scale, zero)
    return Tensor(name, shape, dtype, grid)


def constant(name: str, data: NDArray[Any], grid: Quantization | None = None) -> Tensor:
    return Tensor(name, data.shape, data.dtype.name, grid, data)


def single(kind: str, inputs: Sequence[Tensor], output: Tensor, options: Any = None, *, version: int = 2) -> Graph:
    """One operation; those of its inputs that are not constant are the graph's, in order."""
    count = len(inputs)
    operator = Operator(kind, tuple(range(count)), (count,), options, version)
    given = tuple(index for index, tensor in enumerate(inputs) if tensor.data is None)
    names = tuple(inputs[index].name for index in given)
    return Graph((*inputs, output), (operator,), given, (count,), names, (output.name,))


def samples_of(graph: Graph, count: int, seed: int = 0) -> list[NDArray[Any]]:
    """An array an input, samples first: all codes are likely, floats are normal."""
    generator = np.random.default_rng(seed)
    arrays: list[NDArray[Any]] = []
    for tensor in (graph.tensors[index] for index in graph.inputs):
        shape = (count, *tensor.shape[1:])
        if tensor.dtype == "float32":
            arrays.append(generator.standard_normal(shape).astype(np.float32))
        else:
            limits = np.iinfo(tensor.dtype)
            arrays.append(generator.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True))
    return arrays
