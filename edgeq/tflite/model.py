"""What a .tflite file holds, as plain data: the form that lowering makes, the writer writes and the reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "Operator", "Quantization", "Tensor"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (code - zero_point).

    Attributes:
        scale: float32 [1] (per tensor) or [C] (per channel).
        zero_point: int64, of the scale's shape.
        axis: the dimension that a per-channel scale goes along.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0

    @classmethod
    def per_tensor(cls, scale: float | np.float32, zero_point: int) -> Quantization:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @classmethod
    def per_channel(cls, scale: NDArray[np.float32], axis: int) -> Quantization:
        """Symmetric: zero point 0 everywhere."""
        return cls(scale.astype(np.float32), np.zeros(scale.shape, np.int64), axis)

    @property
    def is_per_channel(self) -> bool:
        return self.scale.size > 1

    def codes(self, real: NDArray[Any]) -> NDArray[np.int8]:
        """The int8 codes of real numbers on a grid of one scale, as QuantizeLinear rounds them."""
        with np.errstate(over="ignore"):
            position = np.rint(np.asarray(real, np.float32) / self.scale[0]) + self.zero_point[0]
        codes: NDArray[np.int8] = np.clip(position, -128, 127).astype(np.int8)
        return codes

    def same_grid(self, other: Quantization | None) -> bool:
        """Whether a code means the same number in both, to the bit."""
        return (
            other is not None
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph; ``data`` is there for constants.

    Attributes:
        name: unique in the graph.
        shape: sizes, the batch included.
        dtype: a numpy name: int8, uint8, int16, int32, int64, float32, float16, bool, or a TFLite name numpy lacks.
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
