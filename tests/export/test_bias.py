from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from int8_models import Arrays, assert_layers_agree, float_model, parity, run_onnxruntime, weights
from numpy.typing import NDArray

from edgeq.artifact import Artifact, make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.export import bias
from edgeq.grid import Grid, quantize_weight
from edgeq.modes import Plan

IMAGE = {"x": (1, 3, 8, 8)}
BODY = """
    a = Conv <pads = [1, 1, 1, 1]> (x, u, bu)
    b = Relu (a)
    c = Conv <group = 8, pads = [1, 1, 1, 1]> (b, v)
    d = Relu (c)
    e = Conv (d, w)
    f = Add (e, b)
    g = GlobalAveragePool (f)
    h = Flatten (g)
    y = Gemm <transB = 1> (h, z, bz)
"""
CONSTANTS = {
    "u": weights(8, 3, 3, 3),
    "bu": weights(8),
    "v": weights(8, 1, 3, 3),
    "w": weights(8, 8, 1, 1),
    "z": weights(5, 8),
    "bz": weights(5),
}
LAYERS = {"a": 1, "c": 1, "e": 1, "y": 1}


def samples() -> Arrays:
    """All above zero, so that a rounding error of the weights moves the mean."""
    return {"x": np.random.default_rng(0).uniform(0, 1, (8, 3, 8, 8)).astype(np.float32)}


def artifact(*, correct: bool) -> Artifact:
    model = float_model(BODY, CONSTANTS, IMAGE)
    return make_artifact(model, {}, samples(), CalibrationRecipe(correct_bias=correct), plan=Plan(grid=Grid(4)))


def means(model: ir.Model, names: list[str]) -> list[NDArray[np.float64]]:
    """Of each channel of values; run by onnxruntime in whole."""
    proto = ir.to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    found = run_onnxruntime(proto, samples())
    return [values.mean(axis=tuple(i for i in range(values.ndim) if i != 1), dtype=np.float64) for values in found]


def errors(built: Artifact) -> list[float]:
    """Of each layer's mean output, relative to how far the outputs of float spread."""
    computed = [*list(LAYERS)[:-1], "y_QuantizeLinear_Input"]
    wanted = means(float_model(BODY, CONSTANTS, IMAGE), list(LAYERS))
    found = means(built.qdq, computed)
    return [float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(found, wanted, strict=True)]


def test_the_mean_error_of_every_layer_becomes_nothing() -> None:
    before, after = errors(artifact(correct=False)), errors(artifact(correct=True))
    assert min(before) > 0.03
    assert max(after) < 0.01  # half a step of an int32 bias beside weights of 4 bits


def test_nothing_but_biases_changes_and_both_files_agree() -> None:
    plain, corrected = artifact(correct=False), artifact(correct=True)
    for name, value in plain.qdq.graph.initializers.items():
        other = corrected.qdq.graph.initializers[name]
        assert value.const_value is not None
        assert other.const_value is not None
        same = value.const_value.tobytes() == other.const_value.tobytes()
        assert same != (name in ("u.bias_quantized", "v.bias_quantized", "w.bias_quantized", "z.bias_quantized")), name
    layers = parity(corrected.content, corrected.qdq, corrected.conversion.layouts, samples())
    assert_layers_agree(layers)


def test_in_little_memory_fewer_samples_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bias, "KEPT_BYTES", 1)
    assert max(errors(artifact(correct=True))) < max(errors(artifact(correct=False)))


def test_a_dense_layer_on_tokens() -> None:
    body = "m = MatMul (x, w)\n a = Add (m, b)\n r = Relu (a)\n n = MatMul (r, v)\n y = Add (n, c)"
    constants = {"w": weights(6, 8), "b": weights(8), "v": weights(8, 5), "c": weights(5)}
    data = {"x": np.random.default_rng(0).uniform(0, 1, (8, 4, 6)).astype(np.float32)}
    inputs = {"x": (1, 4, 6)}
    wanted = run_onnxruntime(float_model(body, constants, inputs), data)[0].mean(axis=(0, 1))
    found = []
    for correct in (False, True):
        recipe = CalibrationRecipe(correct_bias=correct)
        built = make_artifact(float_model(body, constants, inputs), {}, data, recipe, plan=Plan(grid=Grid(4)))
        mean = run_onnxruntime(built.qdq, data)[0].mean(axis=(0, 1))
        found.append(float(np.abs(mean - wanted).max() / np.abs(wanted).max()))
    assert found[1] < 0.01 < found[0]


def test_trained_codes_are_kept() -> None:
    body = 'a = Conv (x, "u.weight", b)\n r = Relu (a)\n y = Conv (r, "v.weight")'
    constants = {"u.weight": weights(8, 3, 3, 3), "b": weights(8), "v.weight": weights(5, 8, 1, 1)}
    table = {name: quantize_weight(constants[f"{name}.weight"], Grid(4)) for name in ("u", "v")}
    model = float_model(body, constants, IMAGE)
    built = make_artifact(model, table, samples(), CalibrationRecipe(correct_bias=True))
    for name, weight in table.items():
        stored = built.qdq.graph.initializers[f"{name}.weight_quantized"].const_value
        assert stored is not None
        assert stored.numpy().tobytes() == weight.codes.tobytes()
