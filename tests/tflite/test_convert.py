from __future__ import annotations

import time

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import Constant, artifact_of, file_inputs, float_model, kinds, random_samples, weights

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid, activation_values
from edgeq.export.fold import fold_model
from edgeq.export.qdq import place_qdq
from edgeq.tflite.convert import Head, Interface, convert_qdq
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_graph
from edgeq.tflite.write import write_graph
from edgeq.verify.layers import cut_graph, cut_qdq
from edgeq.verify.litert import Kernels, load, run

BODY = "c = Conv (x, w)\n r = Relu (c)\n g = GlobalAveragePool (r)\n f = Flatten (g)\n y = Gemm <transB = 1> (f, v)"
CONSTANTS: dict[str, Constant] = {"w": weights(4, 3, 2, 3), "v": weights(5, 4)}
INPUTS = {"x": (1, 3, 5, 7)}


def converted(io: Interface = "int8", head: Head = "none") -> tuple[bytes, Graph]:
    artifact = artifact_of(float_model(BODY, CONSTANTS, INPUTS), io=io, head=head)
    return artifact.content, artifact.conversion.graph


@pytest.mark.parametrize("head", ["none", "softmax"])
def test_uint8_codes_are_int8_codes_plus_128(head: Head) -> None:
    (small, graph), (wide, wide_graph) = converted("int8", head), converted("uint8", head)
    codes = file_inputs(graph, random_samples(INPUTS))[0]
    images = (codes.astype(np.int16) + 128).astype(np.uint8)
    both: tuple[Kernels, ...] = ("reference", "xnnpack")
    for kernels in both:
        wanted = run(small, [codes], kernels, workers=1)[0].astype(np.int16) + 128
        np.testing.assert_array_equal(run(wide, [images], kernels, workers=1)[0], wanted)
    for index, other in ((graph.inputs[0], wide_graph.inputs[0]), (graph.outputs[0], wide_graph.outputs[0])):
        small_grid, wide_grid = graph.tensors[index].quantization, wide_graph.tensors[other].quantization
        assert small_grid is not None
        assert wide_grid is not None
        assert wide_grid.scale == small_grid.scale
        assert wide_grid.zero_point == small_grid.zero_point + 128


def test_float32_is_quantized_and_dequantized_inside() -> None:
    content, graph = converted()
    floats, _ = converted("float32")
    samples = random_samples(INPUTS)
    codes = run(content, file_inputs(graph, samples), workers=1)[0]
    grid = graph.tensors[graph.outputs[0]].quantization
    assert grid is not None
    wanted = (codes.astype(np.float32) - grid.zero_point[0]) * grid.scale[0]
    found = run(floats, [np.ascontiguousarray(samples["x"].transpose(0, 2, 3, 1))], workers=1)[0]
    assert np.abs(found - wanted).max() <= grid.scale[0] * 1.001  # a tie of the input may round either way


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_the_signature_runs_by_name(io: Interface) -> None:
    content, graph = converted(io, "softmax")
    interpreter = load(content)
    signatures = interpreter.get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["x"], "outputs": ["scores"]}}
    tensor = graph.tensors[graph.inputs[0]]
    image = np.full(tensor.shape, 3, tensor.dtype)
    scores = interpreter.get_signature_runner()(x=image)["scores"]
    np.testing.assert_array_equal(scores, run(content, [image], workers=1)[0])
    assert scores.shape == (1, 5)


def test_the_softmax_head_gives_scores_that_add_up_to_one() -> None:
    content, graph = converted("uint8", "softmax")
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), np.uint8)
    scores = run(content, [images], workers=1)[0].astype(np.int64)
    assert np.abs(scores.sum(axis=1) - 256).max() <= 5  # half a code of each of the five, and 255 stands for 256
    grid = graph.tensors[graph.outputs[0]].quantization
    assert grid is not None
    assert (grid.scale[0], grid.zero_point[0]) == (1 / 256, 0)


def chain(layers: int) -> ir.Model:
    body, last = "", "x"
    constants: dict[str, Constant] = {}
    for i in range(layers):
        body += f"c{i} = Conv (r{i - 1 if i else ''}, w{i})\n r{i} = Relu (c{i})\n".replace("(r,", f"({last},")
        constants[f"w{i}"] = weights(4, 4, 1, 1, seed=i)
    body += f"y = Add (r{layers - 1}, r{layers - 1})"
    return float_model(body, constants, {"x": (1, 4, 2, 3)})


def test_no_step_is_quadratic_in_the_number_of_layers() -> None:
    """600 layers take a small fraction of what they would if any step looked at all layers for each."""
    model = chain(600)
    began = time.process_time()
    grids = fold_model(model, {})
    ranges = {str(value.name): ActivationGrid(0.02, 0) for value in activation_values(model)}
    qdq = place_qdq(model, grids, {"int8": ranges})
    placed = time.process_time()
    graph = convert_qdq(qdq).graph
    lowered = time.process_time()
    content = write_graph(graph)
    written = time.process_time()
    cut_graph(read_graph(content))
    cut_qdq(ir.to_proto(qdq), {tensor.name for tensor in graph.tensors})
    cut = time.process_time()
    assert kinds(graph) == ["CONV_2D"] * 600 + ["ADD"]
    times = [placed - began, lowered - placed, written - lowered, cut - written]
    assert max(times) < 4, times


@pytest.mark.parametrize("row", ["MaxPool", "AveragePool"])
def test_a_window_without_a_value_is_refused(row: str) -> None:
    body = f"y = {row} <kernel_shape = [1, 1], strides = [1, 3], ceil_mode = 1> (x)"
    model = float_model(body, {}, {"x": (1, 3, 5, 8)})
    with pytest.raises(ExportError, match=r"node .*the last window .* holds no value .*ceil_mode 0"):
        artifact_of(model)
