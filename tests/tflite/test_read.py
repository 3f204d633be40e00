from __future__ import annotations

import random
import resource
import struct
import time
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from int8_models import artifact_of, float_model, weights

from edgeq.artifact import tflite_bytes
from edgeq.errors import FormatError
from edgeq.tflite.metadata import ImageClassifier
from edgeq.tflite.model import Graph, Operator, Quantization, Tensor
from edgeq.tflite.read import read_file, read_graph
from edgeq.tflite.write import write_graph


def network() -> Graph:
    body = """
        c = Conv <pads = [0, 1, 1, 0]> (x, w, b)
        r = Relu (c)
        p = MaxPool <kernel_shape = [2, 2]> (r)
        f = Flatten (p)
        d = Gemm <transB = 1> (f, v)
        y = Softmax (d)
    """
    constants = {"w": weights(4, 3, 2, 3), "b": weights(4), "v": weights(5, 80)}
    return artifact_of(float_model(body, constants, {"x": (1, 3, 5, 7)})).conversion.graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return network()


@pytest.fixture(scope="module")
def content(graph: Graph) -> bytes:
    return tflite_bytes(graph, ImageClassifier("net", ("a", "b", "c", "d", "e")))


def assert_same_grid(found: Quantization | None, wanted: Quantization | None) -> None:
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found.same_grid(wanted)
        assert found.axis == wanted.axis


def assert_same(found: Graph, wanted: Graph) -> None:
    for tensor, other in zip(found.tensors, wanted.tensors, strict=True):
        assert (tensor.name, tensor.shape, tensor.dtype) == (other.name, other.shape, other.dtype)
        assert_same_grid(tensor.quantization, other.quantization)
        if tensor.data is None or other.data is None:
            assert tensor.data is other.data
        else:
            assert tensor.data.dtype == other.data.dtype
            np.testing.assert_array_equal(tensor.data, other.data)
    for operator, twin in zip(found.operators, wanted.operators, strict=True):
        assert (operator.kind, operator.version) == (twin.kind, twin.version)
        assert (operator.inputs, operator.outputs) == (twin.inputs, twin.outputs)
        if twin.options is None:
            assert operator.options is None
        else:
            for key, value in vars(twin.options).items():
                np.testing.assert_array_equal(getattr(operator.options, key), value)
    assert (found.inputs, found.outputs) == (wanted.inputs, wanted.outputs)
    assert (found.input_names, found.output_names) == (wanted.input_names, wanted.output_names)
    assert (found.metadata, found.description) == (wanted.metadata, wanted.description)


def test_what_is_written_is_read_back(graph: Graph) -> None:
    assert_same(read_graph(write_graph(graph)), graph)


def test_every_type_comes_back() -> None:
    types = ("float32", "float16", "int32", "uint8", "int64", "bool", "int16", "int8")
    data = [np.arange(6).reshape(1, 2, 3).astype(name) for name in types]
    tensors = tuple(Tensor(array.dtype.name, array.shape, array.dtype.name, None, array) for array in data)
    graph = Graph(tensors, (Operator("CUSTOM", (-1, 0), (1,)),), (0,), (1,), metadata={"one": b"1", "two": b""})
    assert_same(read_graph(write_graph(graph)), Graph(tensors, (Operator("CUSTOM ", (-1, 0), (1,)),), (0,), (1,),
                                                       metadata={"one": b"1", "two": b""}))  # fmt: skip


def accepted(content: bytes) -> bool:
    try:
        read_graph(content)
    except FormatError:
        return False
    return True


def test_truncated_at_any_length(content: bytes) -> None:
    plain = content[: content.rindex(b"PK\x03\x04")]  # before the labels' zip, which the flatbuffer does not need
    taken = [length for length in range(len(plain)) if accepted(plain[:length])]
    assert not taken or min(taken) > len(plain) - 4  # the padding behind the last table


def test_flipped_bytes_give_a_graph_or_a_format_error(content: bytes) -> None:
    """And neither hang nor take memory: bounded by the size of the file."""
    generator = random.Random(0)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.choice(
                (0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256))
            )
        accepted(bytes(changed))
    assert time.process_time() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_every_offset_replaced_by_a_huge_one(content: bytes) -> None:
    for position in range(0, min(len(content), 6000) - 4, 4):
        for value in (0x7FFFFFFF, 0xFFFFFFFF, len(content)):
            changed = bytearray(content)
            changed[position : position + 4] = struct.pack("<I", value)
            accepted(bytes(changed))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no TFLite file"),
        (b"\x00" * 64, "no TFLite file"),
        (b"\x1c\x00\x00\x00TFL2" + b"\x00" * 64, "no TFLite file"),
        (b"\xff\xff\xff\x7fTFL3" + b"\x00" * 64, "truncated or corrupted"),
        (b"\x08\x00\x00\x00TFL3" + b"\xff" * 64, "truncated or corrupted"),
    ],
)
def test_garbage(content: bytes, word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_graph(content)


def packed(**changes: object) -> bytes:
    """A one-operation model with parts replaced by hostile ones."""
    parts: dict[str, object] = {
        "buffers": [schema.BufferT(), schema.BufferT(data=np.arange(8, dtype=np.uint8))],
        "shape": np.array([2, 4], np.int32), "buffer": 1, "type": schema.TensorType.INT8, "quantization": None,
        "inputs": np.array([0], np.int32), "opcode": 0, "version": 3, "ends": np.array([0], np.int32),
        "code": schema.BuiltinOperator.RELU, "tensors": 1,
    } | changes  # fmt: skip
    tensor = schema.TensorT(shape=parts["shape"], type=parts["type"], buffer=parts["buffer"], name="t")
    tensor.quantization = parts["quantization"]
    operator = schema.OperatorT(opcodeIndex=parts["opcode"], inputs=parts["inputs"], outputs=np.array([0], np.int32))
    subgraph = schema.SubGraphT(tensors=[tensor], inputs=parts["ends"], outputs=parts["ends"], operators=[operator])
    code = schema.OperatorCodeT(builtinCode=parts["code"], deprecatedBuiltinCode=0)
    model = schema.ModelT(
        version=parts["version"], operatorCodes=[code], subgraphs=[subgraph], buffers=parts["buffers"]
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def grid(scale: list[float], zero: list[int], axis: int = 0) -> object:
    return schema.QuantizationParametersT(
        scale=np.array(scale, np.float32), zeroPoint=np.array(zero, np.int64), quantizedDimension=axis
    )


def test_the_unchanged_model_is_read() -> None:
    assert read_graph(packed()).tensors[0].shape == (2, 4)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": 2}, "schema version"),
        ({"inputs": np.array([7], np.int32)}, "tensor that is not there"),
        ({"inputs": np.array([-2], np.int32)}, "tensor that is not there"),
        ({"ends": np.array([-1], np.int32)}, "tensor that is not there"),
        ({"opcode": 3}, "code that is not there"),
        ({"code": 9999}, "unknown operation"),
        ({"buffer": 5}, "buffer that is not there"),
        ({"shape": np.array([3, 4], np.int32)}, "do not fit its shape"),
        ({"shape": np.array([-2, -4], np.int32)}, "negative size"),
        ({"shape": np.ones(9, np.int32)}, "too many dimensions"),
        ({"shape": np.full(8, 2**31 - 1, np.int32)}, "do not fit its shape"),
        ({"type": 99}, "unknown type"),
        ({"quantization": grid([0.5, 0.5, 0.5], [0])}, "do not fit its shape"),
        ({"quantization": grid([0.5, 0.5], [0], axis=7)}, "do not fit its shape"),
        ({"quantization": grid([0.5, 0.5], [0, 0, 0])}, "zero points"),
        ({"quantization": grid([0.0], [0])}, "not positive"),
        ({"quantization": grid([float("nan")], [0])}, "not positive"),
        ({"buffers": [schema.BufferT(), schema.BufferT(offset=40, size=2**40)]}, "past the end"),
    ],
)
def test_what_cannot_be(changes: dict[str, object], word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_graph(packed(**changes))


def shared_vector_bomb(metadata: int, size: int) -> bytes:
    """A file whose metadata entries all point to one table: small on disk, vast when each is copied."""
    builder = flatbuffers.Builder(1024)
    data = builder.CreateNumpyVector(np.zeros(size, np.uint8))
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    buffer = schema.BufferEnd(builder)
    schema.ModelStartBuffersVector(builder, 1)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    name = builder.CreateString("m")
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name)
    schema.MetadataAddBuffer(builder, 0)
    entry = schema.MetadataEnd(builder)
    schema.ModelStartMetadataVector(builder, metadata)
    for _ in range(metadata):
        builder.PrependUOffsetTRelative(entry)
    entries = builder.EndVector()
    subgraph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[]).Pack(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(subgraph)
    subgraphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, subgraphs)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddMetadata(builder, entries)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_bomb_of_shared_tables_is_refused() -> None:
    assert accepted(shared_vector_bomb(3, 1000))
    with pytest.raises(FormatError, match="too often"):
        read_graph(shared_vector_bomb(50_000, 1_000_000))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_file(tmp_path / "none.tflite")
    with pytest.raises(FormatError, match="cannot be read"):
        read_file(tmp_path)
