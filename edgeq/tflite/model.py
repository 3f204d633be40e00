"""What a .tflite file holds, as plain data: the form that lowering makes, the writer writes and the reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOAT", "PACKED_BITS", "Graph", "Operator", "Quantization", "Tensor"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (code - zero_point).

    Attributes:
        scale: float32 [1] (per tensor) or [C] (per channel).
        zero_point: int64, of the scale's shape.
        axis: the dimension that a per-channel scale goes along.
        dtype: what a code is stored as: int8, int16 and so on; float32 (:data:`FLOAT`) stands for no grid at all.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0
    dtype: str = "int8"

    @classmethod
    def per_tensor(cls, scale: float | np.float32, zero_point: int, dtype: str = "int8") -> Quantization:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64), 0, dtype)

    @classmethod
    def per_channel(cls, scale: NDArray[np.float32], axis: int) -> Quantization:
        """Symmetric: zero point 0 everywhere."""
        return cls(scale.astype(np.float32), np.zeros(scale.shape, np.int64), axis)

    @classmethod
    def holding(cls, value: float, dtype: str) -> Quantization:
        """A grid of a type on which a number is a code, exactly: the largest, or its negative."""
        if dtype == "float32":
            return FLOAT
        scale = np.float32(abs(value) / np.iinfo(dtype).max) if value else np.float32(1)
        return cls.per_tensor(scale, 0, dtype)

    def times(self, factor: float) -> Quantization:
        """The grid on which every code means so many times the number; floats stay floats."""
        return self if self.is_float else replace(self, scale=(self.scale * factor).astype(np.float32))

    @property
    def is_float(self) -> bool:
        return self.dtype == "float32"

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and largest code; of floats the smallest and largest finite number."""
        kind = np.finfo(np.float32) if self.is_float else np.iinfo(self.dtype)
        return (float(kind.min), float(kind.max)) if self.is_float else (int(kind.min), int(kind.max))

    @property
    def lowest(self) -> float:
        """The smallest number on a grid of one scale."""
        zero = 0 if self.is_float else int(self.zero_point[0])
        return float(self.scale[0]) * (self.limits[0] - zero)

    @property
    def is_per_channel(self) -> bool:
        return self.scale.size > 1

    def codes(self, real: NDArray[Any]) -> NDArray[Any]:
        """The codes of real numbers on a grid of one scale, as QuantizeLinear rounds them; without a grid, the
        numbers."""
        if self.is_float:
            return np.asarray(real, np.float32)
        with np.errstate(over="ignore"):
            position = np.rint(np.asarray(real, np.float32) / self.scale[0]) + self.zero_point[0]
        codes: NDArray[Any] = np.clip(position, *self.limits).astype(self.dtype)
        return codes

    def same_grid(self, other: Quantization | None) -> bool:
        """Whether a code means the same number in both, to the bit."""
        return (
            other is not None
            and self.dtype == other.dtype
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


FLOAT = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64), 0, "float32")
"""In the place of a grid: numbers that are float32 as they are."""
PACKED_BITS = {"int4": 4, "int2": 2}
"""Of the types of which a byte holds several codes, the lowest bits first."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph; ``data`` is there for constants.

    Attributes:
        name: unique in the graph.
        shape: sizes, the batch included.
        dtype: a numpy name: int8, uint8, int16, int32, int64, float32, float16, bool, or a TFLite name numpy lacks;
            int4 and int2 codes are held as int8.
        quantization: the grid, or None.
        data: the constant's values of ``shape``, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operation.

    Attributes:
        kind: the builtin's name in the schema, such as CONV_2D.
        inputs, outputs: indices into the graph's tensors; -1 where an optional input is left out.
        options: the schema's options object (``Conv2DOptionsT``), or None.
        version: of the builtin, as the kernels register it.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None
    version: int = 1

    def renumbered(self, places: Mapping[int, int]) -> Operator:
        """The same operation in a graph whose tensors have other indices: new by old."""
        inputs, outputs = (
            tuple(index if index < 0 else places[index] for index in side) for side in (self.inputs, self.outputs)
        )
        return replace(self, inputs=inputs, outputs=outputs)


@dataclass(frozen=True, slots=True)
class Graph:
    """One subgraph with its signature: everything that edgeq writes.

    Attributes:
        tensors, operators: in execution order.
        inputs, outputs: indices into the tensors.
        input_names, output_names: the names of the ``serving_default`` signature, an input or output each.
        metadata: the file's named metadata buffers.
        description: the file's description.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    metadata: dict[str, bytes] = field(default_factory=dict)
    description: str = ""

    def producers(self) -> dict[int, int]:
        """Tensor index to the index of the operation that writes it."""
        return {tensor: i for i, operator in enumerate(self.operators) for tensor in operator.outputs}
