from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import Arrays, Constant, artifact_of, float_model, run_onnxruntime, weights
from numpy.typing import NDArray

from edgeq.artifact import make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.export.equalize import equalize, find_pairs
from edgeq.export.fold import fold_untrained
from edgeq.grid import Grid, quantize_weight
from edgeq.modes import Plan

IMAGE = {"x": (1, 3, 6, 6)}


def uneven(*shape: int, seed: int = 0, axis: int = 0) -> NDArray[np.float32]:
    """Weights whose channels differ by three powers of ten."""
    factor = 10 ** np.random.default_rng(seed).uniform(-1.5, 1.5, shape[axis])
    return (weights(*shape, seed=seed) * np.expand_dims(factor, [i for i in range(len(shape)) if i != axis])).astype(
        np.float32
    )


def peaks(model: ir.Model, name: str, axis: int) -> NDArray[np.float32]:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    largest: NDArray[np.float32] = np.abs(np.moveaxis(tensor.numpy(), axis, 0)).reshape(tensor.shape[axis], -1).max(1)
    return largest


def data(inputs: Mapping[str, tuple[int, ...]]) -> Arrays:
    generator = np.random.default_rng(3)
    return {name: generator.standard_normal((4, *shape[1:])).astype(np.float32) for name, shape in inputs.items()}


# body, constants, inputs, and of the weights between: first, axis of its outputs, second, axis of its inputs
NORM = "BatchNormalization (c, gamma, beta, mean, var)"
CASES: dict[str, tuple[str, dict[str, NDArray[np.float32]], tuple[str, int, str, int]]] = {
    "convolutions": (
        "c = Conv (x, w, b)\n r = Relu (c)\n y = Conv (r, v)",
        {"w": uneven(8, 3, 3, 3), "b": weights(8), "v": uneven(5, 8, 1, 1, axis=1, seed=1)},
        ("w", 0, "v", 1),
    ),
    "batch norm and pools": (
        f"c = Conv (x, w)\n n = {NORM}\n r = LeakyRelu (n)\n p = MaxPool <kernel_shape = [2, 2]> (r)\n"
        "q = GlobalAveragePool (p)\n f = Flatten (q)\n y = Gemm <transB = 1> (f, v)",
        {
            "w": weights(8, 3, 3, 3),
            "gamma": uneven(8),
            "beta": weights(8, seed=1),
            "mean": weights(8, seed=2),
            "var": np.abs(weights(8, seed=4)) + np.float32(0.1),
            "v": weights(5, 8, seed=5),
        },
        ("w", 0, "v", 1),
    ),
    "into a depthwise one": (
        "c = Conv (x, w, b)\n r = Relu (c)\n y = Conv <group = 8> (r, v)",
        {"w": uneven(8, 3, 3, 3), "b": weights(8), "v": uneven(8, 1, 3, 3, seed=1)},
        ("w", 0, "v", 0),
    ),
    "into a transposed one": (
        "c = Conv (x, w, b)\n y = ConvTranspose (c, v)",
        {"w": uneven(8, 3, 3, 3), "b": weights(8), "v": uneven(8, 5, 2, 2, seed=1)},
        ("w", 0, "v", 0),
    ),
    "from a transposed one": (
        "c = ConvTranspose (x, w, b)\n r = PRelu (c, slope)\n y = Conv (r, v)",
        {"w": uneven(3, 8, 2, 2, axis=1), "b": weights(8), "v": weights(5, 8, 1, 1), "slope": weights(8, 1, 1)},
        ("w", 1, "v", 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_computes_what_it_did_and_its_channels_are_even(name: str) -> None:
    body, constants, (first, rows, second, columns) = CASES[name]
    model = float_model(body, constants, IMAGE)
    wanted = run_onnxruntime(model, data(IMAGE))[0]
    fold_untrained(model, ())
    before = peaks(model, first, rows) / peaks(model, second, columns)
    assert before.max() > 30 * before.min()
    assert len(equalize(model, ())) == 1
    np.testing.assert_allclose(peaks(model, first, rows), peaks(model, second, columns), rtol=1e-4)
    found = run_onnxruntime(model, data(IMAGE))[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_tokens() -> None:
    body = "m = MatMul (x, w)\n a = Add (m, b)\n r = Relu (a)\n y = MatMul (r, v)"
    model = float_model(body, {"w": uneven(6, 8, axis=1), "b": weights(8), "v": uneven(8, 5)}, {"x": (1, 4, 6)})
    wanted = run_onnxruntime(model, data({"x": (1, 4, 6)}))[0]
    assert len(equalize(model, ())) == 1
    np.testing.assert_allclose(peaks(model, "w", 1), peaks(model, "v", 0), rtol=1e-4)
    found = run_onnxruntime(model, data({"x": (1, 4, 6)}))[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_a_chain_through_a_depthwise_layer_settles() -> None:
    body = "a = Conv (x, u)\n b = Relu (a)\n c = Conv <group = 8> (b, v)\n d = Relu (c)\n y = Conv (d, w)"
    constants = {"u": uneven(8, 3, 1, 1), "v": uneven(8, 1, 3, 3, seed=1), "w": uneven(5, 8, 1, 1, axis=1, seed=2)}
    model = float_model(body, constants, IMAGE)
    equalize(model, ())
    np.testing.assert_allclose(peaks(model, "u", 0), peaks(model, "v", 0), rtol=0.01)
    np.testing.assert_allclose(peaks(model, "v", 0), peaks(model, "w", 1), rtol=0.01)


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv (x, w)\n r = Sigmoid (c)\n y = Conv (r, v)",  # not homogeneous
        "c = Conv (x, w)\n r = Clip (c, zero, six)\n y = Conv (r, v)",  # Relu6 has a bound of its own
        "c = Conv (x, w)\n r = Relu (c)\n d = Conv (r, v)\n y = Concat <axis = 1> (d, r)",  # read twice
        "c = Conv (x, w)\n d = Conv (c, w8)\n y = Conv (d, w8)",  # a weight that is shared
    ],
)
def test_what_cannot_be_moved_is_left_alone(body: str) -> None:
    arrays = {"w": uneven(8, 3, 1, 1), "v": weights(5, 8, 1, 1), "w8": weights(8, 8, 1, 1)}
    constants: dict[str, Constant] = {**arrays, "zero": 0.0, "six": 6.0}
    assert find_pairs(float_model(body, constants, IMAGE), ()) == []


@pytest.mark.parametrize("trained", ["w", "v"])
def test_trained_codes_are_never_moved(trained: str) -> None:
    body, constants, _ = CASES["convolutions"]
    names = {"w": "w.weight", "v": "v.weight"}
    body = body.replace("(x, w, b)", '(x, "w.weight", b)').replace("(r, v)", '(r, "v.weight")')
    model = float_model(body, {names.get(key, key): value for key, value in constants.items()}, IMAGE)
    table = {trained: quantize_weight(constants[trained], Grid(4))}
    recipe = CalibrationRecipe(equalize=True, correct_bias=True)
    artifact = make_artifact(model, table, data(IMAGE), recipe)
    stored = artifact.qdq.graph.initializers[f"{names[trained]}_quantized"].const_value
    assert stored is not None
    assert stored.numpy().tobytes() == table[trained].codes.tobytes()
    assert any("nothing was equalized" in note for note in artifact.notes)


def test_few_bits_lose_less() -> None:
    """Channels a thousand times apart in the input of a layer: a grid a row cannot hold both."""
    body, constants, _ = CASES["convolutions"]
    samples = data(IMAGE)
    wanted = run_onnxruntime(float_model(body, constants, IMAGE), samples)[0]
    errors = []
    for recipe in (CalibrationRecipe(), CalibrationRecipe(equalize=True)):
        artifact = make_artifact(float_model(body, constants, IMAGE), {}, samples, recipe, plan=Plan(grid=Grid(4)))
        errors.append(float(((run_onnxruntime(artifact.qdq, samples)[0] - wanted) ** 2).mean()))
    assert errors[1] < errors[0] / 2


def test_without_the_choice_nothing_is_moved() -> None:
    body, constants, _ = CASES["convolutions"]
    artifact = artifact_of(float_model(body, constants, IMAGE), data(IMAGE))
    codes = artifact.weights["w"].codes
    np.testing.assert_array_equal(codes, quantize_weight(constants["w"], Grid(), per_channel=True).codes)
