from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from int8_models import Arrays, artifact_of, file_inputs, float_model, kinds, random_samples, weights

from edgeq.artifact import Artifact
from edgeq.errors import VerifyError
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_graph
from edgeq.tflite.write import write_graph
from edgeq.verify.check import check_layers
from edgeq.verify.layers import compare_layers, cut_graph
from edgeq.verify.litert import delegated_operators, load, run, run_all_tensors

INPUTS = {"x": (1, 3, 5, 7)}
BODY = """
    a = Conv (x, w)
    b = Relu (a)
    c = Conv (b, v)
    f = Flatten (c)
    d = Gemm <transB = 1> (f, u)
    y = Softmax (d)
"""


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    constants = {"w": weights(4, 3, 2, 2), "v": weights(6, 4, 1, 1), "u": weights(5, 144, scale=0.1)}
    return artifact_of(float_model(BODY, constants, INPUTS), io="uint8")


def samples() -> Arrays:
    return random_samples(INPUTS, 3)


def changed(graph: Graph, name: str) -> Graph:
    """The graph with one constant turned upside down."""
    tensors = [
        replace(tensor, data=np.ascontiguousarray(tensor.data[::-1])) if tensor.name == name and tensor.data is not None
        else tensor
        for tensor in graph.tensors
    ]  # fmt: skip
    return replace(graph, tensors=tuple(tensors))


def test_the_first_wrong_layer_is_named_and_no_other_blamed(artifact: Artifact) -> None:
    """Every layer is fed the same codes, so a fault stays in its layer."""
    content = write_graph(changed(artifact.conversion.graph, "v"))
    graph = read_graph(content)
    rows = compare_layers(content, graph, artifact.qdq, artifact.conversion.layouts, file_inputs(graph, samples()))
    wrong = [row.name for row in rows if (row.onnx_difference or 0) > 1]
    assert wrong == ["c"]
    with pytest.raises(VerifyError, match=r"layer c \(CONV_2D\)"):
        check_layers(rows)


def test_columns_in_another_order_are_found(artifact: Artifact) -> None:
    content = artifact.content
    graph = read_graph(content)
    layouts = artifact.conversion.layouts
    flat = next(name for name, layout in layouts.items() if len(layout.axes) == 2 and len(layout.axes[1]) > 1)
    plain = {**layouts, flat: Layout.arranged(layouts[flat].shape)}
    rows = compare_layers(content, graph, artifact.qdq, plain, file_inputs(graph, samples()))
    assert any((row.onnx_difference or 0) > 1 for row in rows)


def test_every_operation_is_compared_with_onnxruntime_or_has_none(artifact: Artifact) -> None:
    graph = read_graph(artifact.content)
    rows = compare_layers(
        artifact.content, graph, artifact.qdq, artifact.conversion.layouts, file_inputs(graph, samples())
    )
    assert [row.operation for row in rows] == kinds(graph)
    compared = {row.operation for row in rows if row.onnx_difference is not None}
    assert compared == {"CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}
    assert all(row.delegated or row.reason for row in rows)


def test_what_xnnpack_takes(artifact: Artifact) -> None:
    taken = {artifact.conversion.graph.operators[i].kind for i in delegated_operators(artifact.content)}
    assert {"CONV_2D", "FULLY_CONNECTED"} <= taken
    assert "SOFTMAX" not in taken


def test_a_cut_graph_computes_each_operation_from_what_it_is_given(artifact: Artifact) -> None:
    graph = read_graph(artifact.content)
    cut = cut_graph(graph)
    assert kinds(cut) == kinds(graph)
    assert len(cut.outputs) == len(graph.operators)
    written = set(cut.outputs)
    assert not any(index in written for operator in cut.operators for index in operator.inputs)


def test_all_tensors_are_those_of_a_run(artifact: Artifact) -> None:
    graph = read_graph(artifact.content)
    inputs = file_inputs(graph, samples())
    tensors = run_all_tensors(artifact.content, inputs)
    np.testing.assert_array_equal(np.concatenate(tensors[graph.inputs[0]]), inputs[0])
    wanted = run(artifact.content, inputs, "reference", workers=1)[0]
    np.testing.assert_array_equal(np.concatenate(tensors[graph.outputs[0]]), wanted)


def test_workers_do_not_change_the_results(artifact: Artifact) -> None:
    inputs = file_inputs(read_graph(artifact.content), random_samples(INPUTS, 7))
    np.testing.assert_array_equal(
        run(artifact.content, inputs, workers=1)[0], run(artifact.content, inputs, workers=3)[0]
    )


def test_litert_says_nothing_of_its_delegates(artifact: Artifact, capfd: pytest.CaptureFixture[str]) -> None:
    load(artifact.content)
    assert capfd.readouterr().err == ""
