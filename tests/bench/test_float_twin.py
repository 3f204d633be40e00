from __future__ import annotations

import numpy as np
import pytest
from int8_models import artifact_of, float_model, kinds, random_samples, run_onnxruntime, weights

from edgeq.bench.float_twin import float_twin
from edgeq.tflite.convert import Interface
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run

BODY = """
    a = Conv <pads=[1,1,1,1]> (x, w, b)
    c = Relu(a)
    d = GlobalAveragePool(c)
    e = Flatten(d)
    y = Gemm <transB=1> (e, v)
"""
SHAPES = {"x": (1, 3, 6, 6)}


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_the_twin_computes_what_the_float_network_does(io: Interface) -> None:
    model = float_model(BODY, {"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(5, 4)}, SHAPES)
    samples = random_samples(SHAPES, 4)
    (wanted,) = run_onnxruntime(model, samples)
    graph = artifact_of(model, samples, io=io).conversion.graph
    twin = float_twin(graph)
    (found,) = run(write_graph(twin), [samples["x"].transpose(0, 2, 3, 1).copy()], workers=1)
    assert {tensor.dtype for tensor in twin.tensors} <= {"float32", "int32"}
    assert "QUANTIZE" not in kinds(twin)
    assert "DEQUANTIZE" not in kinds(twin)
    # The weights are still those of the int8 grid: half a step of 1/127 on each of the few terms.
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
