"""Write a .tflite file: the one place where the flatbuffer is laid out. Equal graphs give equal bytes."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.file_kind import TFLITE_MARK
from edgeq.tflite.model import PACKED_BITS, Graph, Operator, Quantization, Tensor

__all__ = ["write_graph"]

SCHEMA_VERSION = 3
BUFFER_ALIGNMENT = 16  # schema.fbs: Buffer.data is force_align: 16
MAX_FILE_BYTES = 2**31 - 1  # a flatbuffer's offsets are 32-bit

TENSOR_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
    "int16": schema.TensorType.INT16,
    "int8": schema.TensorType.INT8,
    "int4": schema.TensorType.INT4,
    "int2": schema.TensorType.INT2,
}


def write_graph(graph: Graph) -> bytes:
    """Serialize a graph.

    Args:
        graph: tensors, operations, signature and metadata.

    Returns:
        The file's bytes: a flatbuffer with identifier TFL3, constants aligned to 16 bytes and equal constants stored
        once.

    Raises:
        ExportError: the file would pass the 2 GiB that a flatbuffer can address.

    Source: tensorflow/lite/schema/schema.fbs, version 3.
    """
    buffers = _Buffers()
    tensors = [_tensor(tensor, buffers) for tensor in graph.tensors]
    codes, operators = _operators(graph.operators)
    metadata = [_metadata(name, buffers.add(content)) for name, content in graph.metadata.items()]
    total = sum(len(content) for content in buffers.contents)
    if total + (1 << 20) > MAX_FILE_BYTES:
        raise ExportError("the network is too large for a .tflite file", got=f"{total} bytes", wanted="less than 2 GiB")

    builder = flatbuffers.Builder(total + 64 * len(buffers.contents) + 256 * len(tensors) + 4096)
    buffer_offsets = [_buffer(builder, content) for content in buffers.contents]
    subgraph = schema.SubGraphT(
        tensors=tensors,
        inputs=np.array(graph.inputs, np.int32),
        outputs=np.array(graph.outputs, np.int32),
        operators=operators,
        name="main",
    )
    parts = {
        "OperatorCodes": _vector(builder, [code.Pack(builder) for code in codes]),
        "Subgraphs": _vector(builder, [subgraph.Pack(builder)]),
        "Description": builder.CreateString(graph.description),
        "Buffers": _vector(builder, buffer_offsets),
        "Metadata": _vector(builder, [item.Pack(builder) for item in metadata]),
        "SignatureDefs": _vector(builder, [item.Pack(builder) for item in _signatures(graph)]),
    }
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, SCHEMA_VERSION)
    for name, offset in parts.items():
        getattr(schema, f"ModelAdd{name}")(builder, offset)
    builder.Finish(schema.ModelEnd(builder), TFLITE_MARK)
    return bytes(builder.Output())


class _Buffers:
    """The file's buffers; the first is empty, as the schema wants, and equal contents share one."""

    def __init__(self) -> None:
        self.contents: list[bytes] = [b""]
        self._index: dict[bytes, int] = {b"": 0}

    def add(self, content: bytes) -> int:
        if content not in self._index:
            self._index[content] = len(self.contents)
            self.contents.append(content)
        return self._index[content]


def _buffer(builder: Any, content: bytes) -> int:
    if not content:
        schema.BufferStart(builder)
        return int(schema.BufferEnd(builder))
    builder.StartVector(1, len(content), BUFFER_ALIGNMENT)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    data = builder.EndVector()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    return int(schema.BufferEnd(builder))


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _tensor(tensor: Tensor, buffers: _Buffers) -> Any:
    content = b"" if tensor.data is None else _content(tensor.data, tensor.dtype)
    return schema.TensorT(
        shape=np.array(tensor.shape, np.int32),
        type=TENSOR_TYPES[tensor.dtype],
        buffer=buffers.add(content),
        name=tensor.name,
        quantization=_quantization(tensor.quantization),
        hasRank=True,
    )


def _content(data: NDArray[Any], dtype: str) -> bytes:
    """A constant's bytes; of int4 two codes a byte, of int2 four, the first in the lowest bits."""
    if dtype not in PACKED_BITS:
        return np.ascontiguousarray(data).tobytes()
    bits = PACKED_BITS[dtype]
    each = 8 // bits
    codes = np.zeros(-(-data.size // each) * each, np.uint8)
    codes[: data.size] = data.ravel().view(np.uint8) & (1 << bits) - 1
    shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(codes.reshape(-1, each) << shifts, axis=1)
    return packed.tobytes()


def _quantization(grid: Quantization | None) -> Any:
    if grid is None:
        return None
    return schema.QuantizationParametersT(
        scale=grid.scale.astype(np.float32),
        zeroPoint=grid.zero_point.astype(np.int64),
        quantizedDimension=grid.axis,
    )


def _operators(operators: tuple[Operator, ...]) -> tuple[list[Any], list[Any]]:
    """The operator codes, one a (kind, version) in order of appearance, and the operators that refer to them."""
    index: dict[tuple[str, int], int] = {}
    packed = []
    for operator in operators:
        code = index.setdefault((operator.kind, operator.version), len(index))
        options_type = 0
        if operator.options is not None:
            options_type = getattr(schema.BuiltinOptions, type(operator.options).__name__.removesuffix("T"))
        packed.append(
            schema.OperatorT(
                opcodeIndex=code,
                inputs=np.array(operator.inputs, np.int32),
                outputs=np.array(operator.outputs, np.int32),
                builtinOptionsType=options_type,
                builtinOptions=operator.options,
            )
        )
    codes = []
    for kind, version in index:
        builtin = getattr(schema.BuiltinOperator, kind)
        # The old field is one byte wide: runtimes of before 2.4 read it, later ones take the larger of the two.
        codes.append(schema.OperatorCodeT(min(builtin, 127), None, version, builtin))
    return codes, packed


def _metadata(name: str, buffer: int) -> Any:
    return schema.MetadataT(name=name, buffer=buffer)


def _signatures(graph: Graph) -> list[Any]:
    if not graph.input_names:
        return []
    pairs = ((graph.input_names, graph.inputs), (graph.output_names, graph.outputs))
    inputs, outputs = (
        [schema.TensorMapT(name=name, tensorIndex=index) for name, index in zip(names, indices, strict=True)]
        for names, indices in pairs
    )
    return [schema.SignatureDefT(inputs=inputs, outputs=outputs, signatureKey="serving_default", subgraphIndex=0)]
