"""Read a .tflite file from outside into :class:`Graph`. The file is hostile until this has gone through it.

flatbuffers' Python accessors follow any offset they are given; here every index, size and type is checked, the work is
bounded by the file's size, and whatever goes wrong below becomes one FormatError.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.file_kind import require_tflite
from edgeq.tflite.model import PACKED_BITS, Graph, Operator, Quantization, Tensor
from edgeq.whole_file import read_whole

__all__ = ["read_file", "read_graph"]

MAX_RANK = 8
MAX_ITEMS = 1 << 22  # tensors, operations and their operands together: a file of that many is no network

TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
OPERATOR_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
NUMPY_TYPES = {
    "bool",
    "float32",
    "float16",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
}


def read_file(path: Path) -> Graph:
    """Read a .tflite file.

    Raises:
        FormatError: it cannot be read, is truncated or is no TFLite file.
    """
    return read_graph(read_whole(path), where=str(path))


def read_graph(content: bytes, *, where: str = "model") -> Graph:
    """Read the bytes of a .tflite file.

    Args:
        content: the file.
        where: its name, for messages.

    Returns:
        The first subgraph, with constants as views into ``content``.

    Raises:
        FormatError: truncated, corrupted, or not a TFLite file of schema version 3.
    """
    require_tflite(content, where)
    try:
        model = schema.Model.GetRootAs(content, 0)
        return _Reader(model, content, where).graph()
    except FormatError:
        raise
    except Exception as error:  # flatbuffers raises struct.error, IndexError, TypeError, ... on a bad offset
        detail = f"{type(error).__name__}: {error}"
        raise FormatError("is truncated or corrupted", where=where, got=detail) from error


class _Reader:
    """One pass over a model, counting what it visits."""

    def __init__(self, model: Any, content: bytes, where: str) -> None:
        self.model, self.content, self.where = model, content, where
        self.left = MAX_ITEMS
        self.bytes_left = 16 * len(content)  # what is copied; tables may share a vector, but not without end

    def fail(self, what: str, got: object = None, wanted: object = None) -> FormatError:
        return FormatError(what, where=self.where, got=got, wanted=wanted)

    def spend(self, items: int) -> int:
        if items < 0 or items > self.left:
            raise self.fail("declares more items than a network has", got=items, wanted=f"at most {self.left}")
        self.left -= items
        return items

    def copy(self, size_bytes: int) -> None:
        if size_bytes > self.bytes_left:
            raise self.fail("refers to the same data too often")
        self.bytes_left -= size_bytes

    def text(self, raw: bytes | None) -> str:
        self.copy(len(raw or b""))
        return "" if raw is None else raw.decode("utf-8", "replace")

    def graph(self) -> Graph:
        model = self.model
        if model.Version() != 3:
            raise self.fail("unknown schema version", got=model.Version(), wanted=3)
        if model.SubgraphsLength() < 1:
            raise self.fail("has no subgraph")
        subgraph = model.Subgraphs(0)
        tensors = tuple(self.tensor(subgraph.Tensors(i), i) for i in range(self.spend(subgraph.TensorsLength())))
        codes = [self.code(model.OperatorCodes(i)) for i in range(self.spend(model.OperatorCodesLength()))]
        operators = tuple(
            self.operator(subgraph.Operators(i), codes, len(tensors))
            for i in range(self.spend(subgraph.OperatorsLength()))
        )
        inputs = self.indices(subgraph.InputsAsNumpy(), len(tensors))
        outputs = self.indices(subgraph.OutputsAsNumpy(), len(tensors))
        input_names, output_names = self.signature(inputs, outputs)
        metadata = {}
        for i in range(self.spend(model.MetadataLength())):
            item = model.Metadata(i)
            content = self.buffer(item.Buffer())
            self.copy(content.size)
            metadata[self.text(item.Name())] = content.tobytes()
        description = self.text(model.Description())
        return Graph(tensors, operators, inputs, outputs, input_names, output_names, metadata, description)

    def code(self, code: Any) -> tuple[str, int]:
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if builtin not in OPERATOR_NAMES:
            raise self.fail("has an unknown operation", got=builtin)
        name = OPERATOR_NAMES[builtin]
        return (f"CUSTOM {self.text(code.CustomCode())}" if name == "CUSTOM" else name), code.Version()

    def buffer(self, index: int) -> NDArray[np.uint8]:
        if not 0 <= index < self.model.BuffersLength():
            raise self.fail("refers to a buffer that is not there", got=index)
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:  # 0 and 1 stand for "inside the flatbuffer"; more: after it, for files past 2 GiB
            end = buffer.Offset() + buffer.Size()
            if end > len(self.content):
                raise self.fail("a buffer reaches past the end of the file", got=end, wanted=len(self.content))
            return np.frombuffer(self.content, np.uint8, buffer.Size(), buffer.Offset())
        return buffer.DataAsNumpy() if buffer.DataLength() else np.empty(0, np.uint8)

    def tensor(self, tensor: Any, index: int) -> Tensor:
        name = self.text(tensor.Name()) or f"tensor_{index}"
        if tensor.ShapeLength() > MAX_RANK:
            raise self.fail(f"tensor {name} has too many dimensions", got=tensor.ShapeLength(), wanted=MAX_RANK)
        shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
        if any(size < 0 for size in shape):
            raise self.fail(f"tensor {name} has a negative size", got=shape)
        if tensor.Type() not in TYPE_NAMES:
            raise self.fail(f"tensor {name} has an unknown type", got=tensor.Type())
        dtype = TYPE_NAMES[tensor.Type()]
        return Tensor(
            name, shape, dtype, self.quantization(tensor, name, shape, dtype), self.data(tensor, name, shape, dtype)
        )

    def data(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any] | None:
        raw = self.buffer(tensor.Buffer())
        if not raw.size:
            return None
        if dtype in PACKED_BITS:
            return self.unpacked(raw, name, shape, PACKED_BITS[dtype])
        if dtype not in NUMPY_TYPES:
            return raw
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if raw.size != wanted:
            raise self.fail(f"the data of tensor {name} do not fit its shape {shape}", got=raw.size, wanted=wanted)
        return raw.view(dtype).reshape(shape)

    def unpacked(self, raw: NDArray[np.uint8], name: str, shape: tuple[int, ...], bits: int) -> NDArray[np.int8]:
        """Several codes a byte as int8, the lowest bits first."""
        size = math.prod(shape)
        each = 8 // bits
        wanted = -(-size // each)
        if raw.size != wanted:
            raise self.fail(f"the data of tensor {name} do not fit its shape {shape}", got=raw.size, wanted=wanted)
        self.copy(size)
        high = 8 - bits
        parts = np.stack([raw << (high - bits * i) for i in range(each)], axis=1).view(np.int8) >> high
        return parts.ravel()[:size].reshape(shape)

    def quantization(self, tensor: Any, name: str, shape: tuple[int, ...], dtype: str) -> Quantization | None:
        grid = tensor.Quantization()
        if grid is None or grid.ScaleLength() == 0:
            return None
        scale, zero_point, axis = grid.ScaleAsNumpy(), grid.ZeroPointAsNumpy(), int(grid.QuantizedDimension())
        if grid.ZeroPointLength() == 0:
            zero_point = np.zeros(len(scale), np.int64)
        if len(scale) > 1 and not (0 <= axis < len(shape) and len(scale) == shape[axis]):
            raise self.fail(f"the scales of tensor {name} do not fit its shape {shape}", got=len(scale))
        if len(zero_point) not in (1, len(scale)):
            raise self.fail(f"the zero points of tensor {name} do not fit its scales", got=len(zero_point))
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise self.fail(f"tensor {name} has a scale that is not positive and finite")
        self.copy(8 * len(scale))
        return Quantization(scale, np.broadcast_to(zero_point, scale.shape).astype(np.int64), axis, dtype)

    def operator(self, operator: Any, codes: list[tuple[str, int]], count: int) -> Operator:
        if not 0 <= operator.OpcodeIndex() < len(codes):
            raise self.fail("an operation refers to a code that is not there", got=operator.OpcodeIndex())
        kind, version = codes[operator.OpcodeIndex()]
        options = schema.BuiltinOptionsCreator(operator.BuiltinOptionsType(), operator.BuiltinOptions())
        for value in vars(options).values() if options is not None else ():
            self.copy(getattr(value, "nbytes", 0) or (len(value) if isinstance(value, bytes | list) else 0))
        inputs = self.indices(operator.InputsAsNumpy(), count, least=-1)
        return Operator(kind, inputs, self.indices(operator.OutputsAsNumpy(), count), options, version)

    def indices(self, vector: Any, count: int, *, least: int = 0) -> tuple[int, ...]:
        if isinstance(vector, int):  # the accessor's way of saying that there is no vector
            return ()
        self.spend(len(vector))
        if len(vector) and not (vector.min() >= least and vector.max() < count):
            raise self.fail("refers to a tensor that is not there", got=int(vector.max()), wanted=f"below {count}")
        return tuple(int(index) for index in vector)

    def signature(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self.model.SignatureDefsLength() == 0:
            return (), ()
        signature = self.model.SignatureDefs(0)
        names: list[dict[int, str]] = []
        for get, length in (
            (signature.Inputs, signature.InputsLength()),
            (signature.Outputs, signature.OutputsLength()),
        ):
            maps = [get(i) for i in range(self.spend(length))]
            names.append({int(item.TensorIndex()): self.text(item.Name()) for item in maps})
        return tuple(names[0].get(i, "") for i in inputs), tuple(names[1].get(i, "") for i in outputs)
