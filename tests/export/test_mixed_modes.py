"""Layers of one network in different modes, and codes of few bits packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from int8_models import (
    artifact_of,
    file_inputs,
    float_proto,
    kinds,
    random_samples,
    run_onnxruntime,
    to_values,
    weights,
)

from edgeq.artifact import Artifact
from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.modes import MODES, plan_from_options
from edgeq.tflite.read import read_graph
from edgeq.verify.check import check_layers
from edgeq.verify.integers import compare_integers
from edgeq.verify.layers import compare_layers
from edgeq.verify.litert import run

BODY = """
    a = Conv <pads = [1, 1, 1, 1]> (x, first_weight, first_bias)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1], group = 4> (b, second_weight)
    d = Conv (c, third_weight)
    e = Add (d, b)
    f = GlobalAveragePool (e)
    g = Flatten (f)
    y = Gemm <transB = 1> (g, last_weight, last_bias)
"""
CONSTANTS: Any = {
    "first_weight": weights(4, 3, 3, 3),
    "first_bias": weights(4),
    "second_weight": weights(4, 1, 3, 3),
    "third_weight": weights(4, 4, 1, 1),
    "last_weight": weights(5, 4),
    "last_bias": weights(5),
}
PROTO = float_proto(BODY, CONSTANTS, {"x": (1, 3, 6, 7)})
for item in (*PROTO.graph.initializer, *PROTO.graph.node):  # ONNX text has no dots in names
    if isinstance(item, onnx.NodeProto):
        item.input[:] = [name.replace("_weight", ".weight").replace("_bias", ".bias") for name in item.input]
    else:
        item.name = item.name.replace("_weight", ".weight").replace("_bias", ".bias")
SAMPLES = random_samples({"x": (1, 3, 6, 7)}, 4)


def made(layers: dict[str, Any], mode: str = "int8", *, bits: int = 8, packed: bool = False) -> tuple[Artifact, Any]:
    """The artifact, whose layers agree in all runtimes and whose codes are those of the grid, and what it computes."""
    plan = plan_from_options(mode, Grid(bits), layers, packed=packed)
    io: Any = MODES[mode].ends[-1] if mode != "int8" else "int8"
    artifact = artifact_of(ir.from_proto(PROTO), SAMPLES, io=io, plan=plan)
    graph = read_graph(artifact.content)
    quantized = graph.tensors[graph.inputs[0]].quantization is not None
    inputs = file_inputs(graph, SAMPLES) if quantized else [np.ascontiguousarray(SAMPLES["x"].transpose(0, 2, 3, 1))]
    check_layers(compare_layers(artifact.content, graph, artifact.qdq, artifact.conversion.layouts, inputs))
    assert compare_integers(artifact.weights, artifact.qdq, graph, artifact.conversion.layouts) == sum(
        weight.codes.size for weight in artifact.weights.values()
    )
    found = run(artifact.content, inputs, workers=1)[0]
    return artifact, to_values(found, graph, graph.outputs[0]) if quantized else found


def error(found: Any) -> float:
    """Of the range of the float network's result."""
    wanted = run_onnxruntime(PROTO, SAMPLES)[0]
    return float(np.abs(found - wanted).max() / np.ptp(wanted))


@pytest.mark.parametrize(
    ("layers", "becomes"),
    [
        ({"second": "float32"},
         "CONV_2D DEQUANTIZE DEPTHWISE_CONV_2D QUANTIZE CONV_2D ADD MEAN RESHAPE FULLY_CONNECTED"),
        ({"second": "float32", "third": "float32"},
         "CONV_2D DEQUANTIZE DEPTHWISE_CONV_2D CONV_2D QUANTIZE ADD MEAN RESHAPE FULLY_CONNECTED"),
        ({"second": "int16"},
         "CONV_2D QUANTIZE DEPTHWISE_CONV_2D QUANTIZE CONV_2D ADD MEAN RESHAPE FULLY_CONNECTED"),
        ({"first": "float32"},
         "DEQUANTIZE CONV_2D QUANTIZE DEPTHWISE_CONV_2D CONV_2D ADD MEAN RESHAPE FULLY_CONNECTED"),
        ({"last": "float32"},
         "CONV_2D DEPTHWISE_CONV_2D CONV_2D ADD MEAN RESHAPE DEQUANTIZE FULLY_CONNECTED QUANTIZE"),
        ({"third": "float16"},
         "CONV_2D DEPTHWISE_CONV_2D DEQUANTIZE DEQUANTIZE CONV_2D QUANTIZE ADD MEAN RESHAPE FULLY_CONNECTED"),
    ],
)  # fmt: skip
def test_one_layer_in_another_mode(layers: dict[str, str], becomes: str) -> None:
    artifact, found = made(layers)
    assert sorted(kinds(artifact.conversion.graph)) == sorted(becomes.split())
    assert error(found) < 0.04


def test_an_int8_layer_in_a_float_network() -> None:
    artifact, found = made({"third": "int8"}, "float32")
    assert kinds(artifact.conversion.graph).count("QUANTIZE") == 1
    assert error(found) < 0.02


@pytest.mark.parametrize("mode", ["int8", "int16", "dynamic"])
def test_packed_codes_are_those_of_the_grid(mode: str) -> None:
    artifact, found = made({}, mode, bits=4, packed=True)
    graph = read_graph(artifact.content)
    stored = {tensor.name.split(".")[0]: tensor.dtype for tensor in graph.tensors if tensor.name.endswith(".weight")}
    depthwise = "int4" if mode == "int8" else "int8"  # the only one with a kernel
    assert stored == {"first": "int4", "second": depthwise, "third": "int4", "last": "int4"}
    assert any("second.weight is stored in int8" in note for note in artifact.notes) == (mode != "int8")
    plain, same = made({}, mode, bits=4)
    assert np.abs(found - same).max() <= 0.02 * np.ptp(same)  # other kernels: a code of int8, an input rounded anew
    assert len(artifact.content) < len(plain.content)
    assert len(artifact.onnx_bytes) < len(plain.onnx_bytes)
    both = [onnxruntime.InferenceSession(item.onnx_bytes).run(None, {"x": SAMPLES["x"][:1]})[0]
            for item in (artifact, plain)]  # fmt: skip
    assert np.array_equal(*both)


@pytest.mark.parametrize("mode", ["int8", "int16", "dynamic"])
def test_codes_of_two_bits_are_int2_in_dense_layers(mode: str) -> None:
    artifact, found = made({}, mode, bits=2, packed=True)
    stored = {tensor.name.split(".")[0]: tensor.dtype
              for tensor in read_graph(artifact.content).tensors if tensor.name.endswith(".weight")}  # fmt: skip
    assert stored == {"first": "int4", "second": "int4" if mode == "int8" else "int8", "third": "int4", "last": "int2"}
    assert any("third.weight is stored in 4 bits: LiteRT's CONV_2D takes no" in note for note in artifact.notes)
    _, same = made({}, mode, bits=2)
    assert np.abs(found - same).max() <= 0.02 * np.ptp(same)


def test_bits_by_layer() -> None:
    artifact, _ = made({"first": 8, "third": 2}, bits=4, packed=True)
    bits = {name.removesuffix(".weight"): weight.grid.bits for name, weight in artifact.weights.items()}
    assert bits == {"first": 8, "second": 4, "third": 2, "last": 4}
    types = {tensor.name: tensor.dtype for tensor in read_graph(artifact.content).tensors}
    assert (types["first.weight"], types["third.weight"]) == ("int8", "int4")


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(RecipeError, match=r"thirt.*did you mean third\?"):
        made({"thirt": "float32"})
