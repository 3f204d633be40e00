"""The graph file that ``targets/native/xnnpack_runner.c`` reads: its values, its nodes and their bytes. No TFLite here.

Little-endian: a header of 48 bytes, values of 64, nodes of 96, then the indices that nodes read, those of the graph's
inputs and outputs, and from the next multiple of 16 the constants, each at a multiple of 16.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ExportError

__all__ = ["ALIGNMENT", "FORMAT_VERSION", "MAGIC", "MAX_DIMS", "Kind", "Node", "Value", "ValueType", "pack_graph"]

MAGIC = b"EDGEQXNN"
FORMAT_VERSION = 1
ALIGNMENT = 16
MAX_DIMS = 6  # XNN_MAX_TENSOR_DIMS
MAX_PARAMS = 16
MAX_FILE_BYTES = 1 << 30
NOTHING = 0xFFFFFFFF

_HEADER = struct.Struct("<8s8I8x")
_VALUE = struct.Struct("<2I6Iif3I12x")
_NODE = struct.Struct("<4I2f16i8x")


class ValueType(IntEnum):
    """What the elements of a value are; quantized but for FLOAT32 and RAW (bytes of the runner's own tables)."""

    FLOAT32 = 1
    INT8 = 2
    UINT8 = 3
    INT32 = 4
    CHANNEL_INT8 = 5
    CHANNEL_INT32 = 6
    RAW = 7


class Kind(IntEnum):
    """The operations: XNNPACK's below 64, the runner's own from there on."""

    CONVOLUTION = 1
    DEPTHWISE_CONVOLUTION = 2
    FULLY_CONNECTED = 3
    ADD = 4
    SUBTRACT = 5
    MULTIPLY = 6
    GLOBAL_AVERAGE_POOL = 7
    AVERAGE_POOL = 8
    MAX_POOL = 9
    PAD = 10
    RESHAPE = 11
    RESIZE_BILINEAR = 12
    CLAMP = 13
    LOGISTIC = 14
    SOFTMAX = 15
    CONVERT = 16
    LEAKY_RELU = 17
    HARD_SWISH = 18
    TABLE = 64
    FLIP_SIGN = 65
    SOFTMAX_INT8 = 66
    AVERAGE_POOL_INT8 = 67
    MEAN = 68
    CONCATENATION = 69
    TRANSPOSE = 70
    SLICE = 71
    FILL_PAD = 72
    TANH = 73


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph file.

    Attributes:
        type: of its elements.
        shape: sizes, at most six.
        scale, zero_point: of a quantized value with one grid.
        scales: float32, one a channel, of the two CHANNEL types.
        axis: the dimension they go along.
        data: of a constant.
    """

    type: ValueType
    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    scales: NDArray[np.float32] | None = None
    axis: int = 0
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """An operation of the graph file.

    Attributes:
        kind: which.
        inputs: indices of values.
        output: index of a value.
        params: integers, by kind as the runner's ``xnnpack_checks.h`` says.
        minimum, maximum: limits of the output in real numbers; for LEAKY_RELU the slope, for SOFTMAX_INT8 beta and for
            FILL_PAD the number to fill with are in ``minimum``.
    """

    kind: Kind
    inputs: tuple[int, ...]
    output: int
    params: tuple[int, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf


def pack_graph(values: Sequence[Value], nodes: Sequence[Node], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The bytes of a graph file; equal graphs give equal bytes, and equal constants are stored once.

    Args:
        values: the tensors.
        nodes: in the order in which they run.
        inputs, outputs: of the graph; indices of values.

    Raises:
        ExportError: the file would be larger than the runner takes.
    """
    constants = _Constants()
    packed_values = [_pack_value(value, constants) for value in values]
    operands: list[int] = []
    packed_nodes = []
    for node in nodes:
        params = (*node.params, *(0,) * (MAX_PARAMS - len(node.params)))
        packed_nodes.append(
            _NODE.pack(node.kind, len(operands), len(node.inputs), node.output, node.minimum, node.maximum, *params)
        )
        operands += node.inputs
    indices = (*operands, *inputs, *outputs)
    tables = b"".join((*packed_values, *packed_nodes, struct.pack(f"<{len(indices)}I", *indices)))
    start = _aligned(_HEADER.size + len(tables))
    if start + constants.size > MAX_FILE_BYTES:
        raise ExportError("the network is too large for the XNNPACK runner", got=constants.size, wanted=MAX_FILE_BYTES)
    counts = (len(values), len(nodes), len(operands), len(inputs), len(outputs))
    header = _HEADER.pack(MAGIC, FORMAT_VERSION, *counts, start, constants.size)
    return b"".join(((header + tables).ljust(start, b"\0"), *constants.parts))


class _Constants:
    """The data block as it grows."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self._places: dict[bytes, int] = {}

    def add(self, content: bytes | None) -> int:
        if content is None:
            return NOTHING
        if content not in self._places:
            self._places[content] = self.size
            self.parts.append(content.ljust(_aligned(len(content)), b"\0"))
            self.size += len(self.parts[-1])
        return self._places[content]


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _pack_value(value: Value, constants: _Constants) -> bytes:
    sizes = (*value.shape, *(0,) * (MAX_DIMS - len(value.shape)))
    scales = None if value.scales is None else value.scales.astype("<f4").tobytes()
    places = (constants.add(value.data), constants.add(scales), value.axis)
    return _VALUE.pack(value.type, len(value.shape), *sizes, value.zero_point, value.scale, *places)
