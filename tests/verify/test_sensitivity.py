from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import Arrays, float_model, run_onnxruntime, weights
from numpy.typing import NDArray

from edgeq.artifact import Artifact, make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.export.fold import fold_untrained
from edgeq.grid import Grid, quantize_weight
from edgeq.onnx_session import open_session
from edgeq.verify.sensitivity import layer_costs
from edgeq.verify.switches import switched_model

INPUTS = {"x": (1, 3, 8, 8)}
BODY = """
    a = Conv <pads = [1, 1, 1, 1]> (x, "one.weight", b1)
    b = Relu (a)
    c = Conv <group = 8, pads = [1, 1, 1, 1]> (b, "two.weight")
    n = BatchNormalization (c, gamma, beta, mean, var)
    d = Relu (n)
    p = MaxPool <kernel_shape = [2, 2]> (d)
    e = Conv (p, "three.weight")
    g = GlobalAveragePool (e)
    h = Flatten (g)
    y = Gemm <transB = 1> (h, "four.weight", b4)
"""
LAYERS = ["one", "two", "three", "four"]


CONSTANTS = {
    "one.weight": weights(8, 3, 3, 3),
    "b1": weights(8),
    "two.weight": weights(8, 1, 3, 3),
    "three.weight": weights(8, 8, 1, 1),
    "four.weight": weights(5, 8),
    "b4": weights(5),
    "gamma": np.abs(weights(8, seed=1)) + np.float32(0.5),
    "beta": weights(8, seed=2),
    "mean": weights(8, seed=3),
    "var": np.abs(weights(8, seed=4)) + np.float32(0.5),
}


def network() -> ir.Model:
    return float_model(BODY, CONSTANTS, INPUTS)


def samples() -> Arrays:
    return {"x": np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)}


def both(damaged: str = "") -> tuple[Artifact, ir.Model]:
    """The artifact, one of its layers rounded to 2 bits, and the float network it is of."""
    reference = network()
    fold_untrained(reference, ())
    names = [damaged] if damaged else []
    trained = {name: quantize_weight(CONSTANTS[f"{name}.weight"], Grid(2), per_channel=True) for name in names}
    return make_artifact(network(), trained, samples(), CalibrationRecipe()), reference


def outputs(model: ir.Model, flags: dict[str, bool]) -> NDArray[np.float32]:
    session = open_session(model)
    chosen = {name: np.array(value) for name, value in flags.items()}
    return np.concatenate([session.run(None, {"x": image[None], **chosen})[0] for image in samples()["x"]])


def test_no_flag_is_the_float_network_and_all_are_the_quantized_one() -> None:
    artifact, reference = both()
    model, layers = switched_model(artifact.qdq, reference)
    assert [layer.name for layer in layers if layer.operation in ("Conv", "Gemm")] == LAYERS
    exact = outputs(model, {layer.flag: False for layer in layers})
    wanted = run_onnxruntime(network(), samples())[0]
    np.testing.assert_allclose(exact, wanted, rtol=1e-4, atol=1e-5)
    rounded = outputs(model, {layer.flag: True for layer in layers})
    step = float(np.diff(np.unique(rounded)).min())
    quantized = run_onnxruntime(artifact.qdq, samples())[0]
    assert np.abs(rounded - quantized).max() <= 1.01 * step  # a tie may fall to either side


@pytest.mark.parametrize("damaged", LAYERS)
def test_a_damaged_layer_comes_first(damaged: str) -> None:
    nothing, everything, rows = layer_costs(*_models(damaged), samples())
    assert nothing.noise == 0
    assert rows[0].name == damaged
    assert rows[0].alone.noise > 3 * rows[1].alone.noise
    assert min(rows, key=lambda row: row.rest.noise).name == damaged
    assert rows[0].rest.noise < everything.noise


def _models(damaged: str) -> tuple[ir.Model, ir.Model]:
    artifact, reference = both(damaged)
    return artifact.qdq, reference


def test_labels_give_accuracies() -> None:
    labels = run_onnxruntime(network(), samples())[0].argmax(axis=1)
    nothing, everything, rows = layer_costs(*_models(""), samples(), labels)
    assert nothing.accuracy == 100
    assert all(row.alone.accuracy is not None for row in rows)
    assert [row.alone.accuracy for row in rows] == sorted(row.alone.accuracy or 0 for row in rows)
    assert everything.accuracy is not None
