from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from int8_models import artifact_of, float_model, weights

from edgeq.errors import ExportError
from edgeq.tflite import write
from edgeq.tflite.model import Graph, Quantization, Tensor
from edgeq.tflite.read import read_graph
from edgeq.tflite.write import write_graph


def network() -> Graph:
    body = "a = Conv (x, first.weight)\n b = Relu (a)\n c = Conv (b, w)\n d = Add (c, k)\n y = Add (d, k)"
    body = body.replace("first.weight", "v")
    constants = {"v": weights(5, 3, 2, 3), "w": weights(4, 5, 1, 1), "k": weights(4, 1, 1)}
    return artifact_of(float_model(body, constants, {"x": (1, 3, 5, 7)})).conversion.graph


def test_every_constant_starts_at_a_multiple_of_16() -> None:
    """schema.fbs: Buffer.data is force_align: 16; read off the file by the schema's own accessors."""
    content = write_graph(network())
    model = schema.Model.GetRootAs(content, 0)
    found = 0
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        field = table.Offset(4)
        if field:
            assert table.Vector(field) % 16 == 0
            found += 1
    assert found == 5  # two weights, two biases and the operand


def test_the_first_buffer_is_empty_and_equal_constants_are_stored_once() -> None:
    graph = network()
    content = write_graph(graph)
    model = schema.Model.GetRootAs(content, 0)
    stored = [bytes(model.Buffers(i).DataAsNumpy()) if model.Buffers(i).DataLength() else b"" for i in
              range(model.BuffersLength())]  # fmt: skip
    assert stored[0] == b""
    assert b"" not in stored[1:]
    assert len(set(stored)) == len(stored)
    wanted = {tensor.data.tobytes() for tensor in graph.tensors if tensor.data is not None}
    assert set(stored[1:]) == wanted


def test_equal_graphs_give_equal_bytes() -> None:
    assert write_graph(network()) == write_graph(network())


def test_weights_have_a_scale_a_channel_and_their_own_name() -> None:
    by_name = {tensor.name: tensor for tensor in network().tensors}
    for name, outputs in (("v", 5), ("w", 4)):
        tensor = by_name[name]
        assert tensor.quantization is not None
        assert tensor.quantization.scale.shape == (outputs,)
        assert not tensor.quantization.zero_point.any()
        assert tensor.dtype == "int8"
        assert tensor.shape[0] == outputs
    biases = [tensor for tensor in by_name.values() if tensor.dtype == "int32" and tensor.name.endswith(".bias")]
    assert [bias.shape for bias in biases] == [(5,), (4,)]


def test_a_file_of_more_than_2_gib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MAX_FILE_BYTES", 1 << 21)
    graph = network()
    big = Tensor("big", (1 << 20,), "int8", None, np.zeros(1 << 20, np.int8))
    write_graph(graph)
    with pytest.raises(ExportError, match="too large"):
        write_graph(replace(graph, tensors=(*graph.tensors, big)))


def test_two_bits_are_packed_four_a_byte_the_first_lowest() -> None:
    codes = np.array([[-1, 1, 0], [0, 1, -2], [1, 1, -1]], np.int8)
    grid = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64), 0, "int2")
    content = write_graph(Graph((Tensor("w", (3, 3), "int2", grid, codes),), (), (), ()))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    tensor = model.subgraphs[0].tensors[0]
    assert tensor.type == schema.TensorType.INT2
    assert bytes(model.buffers[tensor.buffer].data).hex() == "075903"
    assert np.array_equal(np.asarray(read_graph(content).tensors[0].data), codes)


def test_four_bits_are_packed_two_a_byte_the_first_low() -> None:
    """As the schema has it; an odd one leaves half a byte of zero."""
    codes = np.array([[-7, 7, 1], [-1, 0, 3], [5, -8, 2]], np.int8)
    grid = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64), 0, "int4")
    graph = Graph((Tensor("w", (3, 3), "int4", grid, codes),), (), (), ())
    content = write_graph(graph)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    tensor = model.subgraphs[0].tensors[0]
    assert tensor.type == schema.TensorType.INT4
    assert bytes(model.buffers[tensor.buffer].data).hex() == "79f1308502"
    assert np.array_equal(np.asarray(read_graph(content).tensors[0].data), codes)
