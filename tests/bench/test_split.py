from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from int8_models import artifact_of, float_model, kinds, weights
from numpy.typing import NDArray

from edgeq.bench.split import split_operations
from edgeq.tflite.model import Graph
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run

Codes = NDArray[np.int8]

# A stride of 2 over an even side pads one side only in TensorFlow's SAME, both in ONNX: hence the PAD.
PADDED = "a = Conv <strides=[2,2], pads=[1,1,1,1]> (x, w)  b = Relu(a)  c = Conv(b, v)  d = Add(c, c)  y = Add(d, c)"


@pytest.fixture(scope="module")
def padded() -> Graph:
    model = float_model(PADDED, {"w": weights(4, 3, 3, 3), "v": weights(4, 4, 1, 1)}, {"x": (1, 3, 8, 8)})
    return artifact_of(model).conversion.graph


def chain(graph: Graph, values: Mapping[str, Codes]) -> dict[str, Codes]:
    """Every part run on what the parts before it gave."""
    known = dict(values)
    for part in split_operations(graph):
        inputs = [known[part.graph.tensors[index].name] for index in part.graph.inputs]
        (known[part.name],) = run(write_graph(part.graph), inputs, workers=1)
    return known


def test_parts_in_a_row_are_the_whole(padded: Graph) -> None:
    codes = np.random.default_rng(0).integers(-128, 128, (3, 8, 8, 3)).astype(np.int8)
    (whole,) = run(write_graph(padded), [codes], workers=1)
    (first,), (last,) = padded.inputs, padded.outputs
    known = chain(padded, {padded.tensors[first].name: codes})
    np.testing.assert_array_equal(known[padded.tensors[last].name], whole)


def test_a_pad_stays_with_its_only_reader(padded: Graph) -> None:
    parts = split_operations(padded)
    assert kinds(padded) == ["PAD", "CONV_2D", "CONV_2D", "ADD", "ADD"]
    assert [(part.index, part.kind) for part in parts] == [
        (1, "PAD+CONV_2D"),
        (2, "CONV_2D"),
        (3, "ADD"),
        (4, "ADD"),
    ]
    assert kinds(parts[0].graph) == ["PAD", "CONV_2D"]


def test_a_pad_that_others_read_too_stays_alone(padded: Graph) -> None:
    pad = padded.operators[0].outputs[0]
    shared = Graph(padded.tensors, padded.operators, padded.inputs, (*padded.outputs, pad))
    assert [part.kind for part in split_operations(shared)][:2] == ["PAD", "CONV_2D"]


def test_one_tensor_read_twice_is_one_input(padded: Graph) -> None:
    twice = split_operations(padded)[2]
    assert len(twice.graph.inputs) == 1
    assert twice.graph.operators[0].inputs == (0, 0)


def test_constants_are_shared(padded: Graph) -> None:
    part = split_operations(padded)[1]
    held = {tensor.name: tensor for tensor in padded.tensors}
    assert all(tensor is held[tensor.name] for tensor in part.graph.tensors)
