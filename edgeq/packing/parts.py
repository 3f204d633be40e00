"""Where a .tflite file keeps its constants: the parts of it that are coded as what they are, not as bytes.

Only offsets are looked up here, so files of any maker and version can be packed, with operations nobody knows. What
cannot be made sense of is left to be packed as bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import FormatError
from edgeq.file_kind import require_tflite
from edgeq.packing.numbers import Kind

__all__ = ["Part", "Role", "find_parts"]

Role = Literal["weights", "biases", "scales", "constants"]

LEAST_BYTES = 32  # what is shorter costs more to tell apart than it saves
TYPES = {  # bits and whether integers in two's complement
    schema.TensorType.FLOAT32: (32, False),
    schema.TensorType.FLOAT16: (16, False),
    schema.TensorType.BFLOAT16: (16, False),
    schema.TensorType.FLOAT64: (64, False),
    schema.TensorType.INT64: (64, True),
    schema.TensorType.INT32: (32, True),
    schema.TensorType.INT16: (16, True),
    schema.TensorType.INT4: (4, False),
    schema.TensorType.INT2: (2, False),
}
FLOATS = {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.BFLOAT16, schema.TensorType.FLOAT64}


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file.

    Attributes:
        offset, size: in bytes.
        role: what the network uses them for; ``constants`` are shapes, permutations and the like.
        name: of the tensor.
        kind: what the bytes are.
        values: how many numbers they are.
        scale_of: of scales, the index of the tensor.
    """

    offset: int
    size: int
    role: Role
    name: str
    kind: Kind
    values: int
    scale_of: int = -1


def find_parts(content: bytes, where: str) -> tuple[list[Part], dict[int, tuple[int, float]]]:
    """The parts in the order of the file, none over another.

    Args:
        content: a .tflite file.
        where: its name, for messages.

    Returns:
        The parts; and for those scales of biases that are the product of an input's scale and a weight's scales, by
        index of the part, the part of the weight's scales and the input's scale.

    Raises:
        FormatError: it is no TFLite file, or damaged.
    """
    require_tflite(content, where)
    try:
        model = schema.Model.GetRootAs(content, 0)
        found = sorted(_candidates(model, len(content)), key=lambda part: (part.offset, -part.size))
        parts, end = [], 8
        for part in found:
            if part.offset >= end and part.offset + part.size <= len(content):
                parts.append(part)
                end = part.offset + part.size
        return parts, _products(model, content, parts)
    except FormatError:
        raise
    except Exception as error:  # flatbuffers raises struct.error, IndexError, TypeError, ... on a bad offset
        detail = f"{type(error).__name__}: {error}"
        raise FormatError("is truncated or corrupted", where=where, got=detail) from error


def _candidates(model: Any, length: int) -> Iterator[Part]:
    left = 16 * length  # tables of a file may share what they refer to, but not without end
    for number in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(number)
        for i in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(i)
            name = (tensor.Name() or b"").decode("utf-8", "replace") or f"tensor_{i}"
            left -= len(name) + 16
            if left < 0:
                raise ValueError("it refers to the same data too often")
            yield from _data_part(model, tensor, name)
            grid = tensor.Quantization()
            if grid is not None and 4 * grid.ScaleLength() >= LEAST_BYTES:
                offset, size = _vector(grid, 8), grid.ScaleLength()
                yield Part(offset, 4 * size, "scales", name, Kind(32), size, i if number == 0 else -1)


def _data_part(model: Any, tensor: Any, name: str) -> Iterator[Part]:
    if not 0 < tensor.Buffer() < model.BuffersLength():
        return
    buffer = model.Buffers(tensor.Buffer())
    if buffer.Offset() > 1:  # behind the flatbuffer, in files past 2 GiB
        offset, size = buffer.Offset(), buffer.Size()
    else:
        offset, size = _vector(buffer, 4), buffer.DataLength()
    bits, signed = TYPES.get(tensor.Type(), (8, False))
    if size < LEAST_BYTES or (bits >= 8 and size % (bits // 8)):
        return
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else np.ones(1, int)
    values = math.prod(int(side) for side in shape)
    rows = int(shape[0])
    packed = 8 * size // bits
    values = values if 0 < values <= packed else packed
    rows = rows if rows > 0 and packed % rows == 0 else 1
    grid = tensor.Quantization()
    learned = tensor.Type() in FLOATS or (grid is not None and grid.ScaleLength() > 0)
    role: Role = "constants" if not learned else "weights" if len(shape) > 1 else "biases"
    if role == "constants" and size < 4 * LEAST_BYTES:  # shapes and the like, at home among the structure
        return
    sides = tuple(map(int, shape)) if role == "weights" else ()
    yield Part(offset, size, role, name, Kind(bits, signed, rows, sides), values)


def _vector(table: Any, slot: int) -> int:
    """The first byte of a table's vector; 0 where there is none."""
    offset = table._tab.Offset(slot)
    return int(table._tab.Vector(offset)) if offset else 0


def _products(model: Any, content: bytes, parts: list[Part]) -> dict[int, tuple[int, float]]:
    scales = {part.scale_of: i for i, part in enumerate(parts) if part.scale_of >= 0}
    found: dict[int, tuple[int, float]] = {}
    tried: set[int] = set()
    if not scales:
        return found
    subgraph = model.Subgraphs(0)
    for number in range(subgraph.OperatorsLength()):
        operands = subgraph.Operators(number).InputsAsNumpy()
        if isinstance(operands, int):  # the accessor's way of saying that there are none
            continue
        known = [scales[int(i)] for i in operands[:4] if int(i) in scales]
        if len(known) != 2 or known[0] == known[1] or known[1] in tried or known[0] in found:
            continue
        weight, bias = known
        tried.add(bias)
        given, wanted = (np.frombuffer(content, "<f4", parts[i].size // 4, parts[i].offset) for i in known)
        for factor in _single_scales(subgraph, operands[:4]):
            with np.errstate(all="ignore"):
                if (np.float32(factor) * given).tobytes() == wanted.tobytes():
                    found[bias] = (weight, factor)
    return found


def _single_scales(subgraph: Any, operands: Any) -> Iterator[float]:
    """The scales of those operands that have one for the tensor."""
    for i in operands:
        grid = subgraph.Tensors(int(i)).Quantization() if i >= 0 else None
        if grid is not None and grid.ScaleLength() == 1:
            yield float(grid.Scale(0))
