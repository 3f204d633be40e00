from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import (
    Constant,
    assert_int8_is_right,
    float_model,
    float_proto,
    random_samples,
    run_onnxruntime,
    weights,
)
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.batch_norm import BatchNorm
from edgeq.export.fold import FoldedLayer, fold_batch_norm, fold_model
from edgeq.grid import Grid, QuantizedWeight, quantize_weight

IMAGE = {"x": (1, 3, 5, 7)}
CHANNELS = 8
NORM = "BatchNormalization (c, gamma, beta, mean, var)"


def norm_constants(channels: int = CHANNELS, **changed: NDArray[np.float32]) -> dict[str, Constant]:
    """Half of the gammas negative, two of them zero, one of them tiny."""
    gamma = weights(channels, seed=1) + 0.3
    gamma[1::2] = -np.abs(gamma[1::2])
    gamma[2::4] = 0
    constants = {"gamma": gamma, "beta": weights(channels, seed=2), "mean": weights(channels, seed=3)}
    constants["var"] = np.abs(weights(channels, seed=4)) + 0.1
    return {**constants, **changed}


def samples() -> dict[str, NDArray[np.float32]]:
    return {"x": weights(4, 3, 5, 7, seed=9, scale=1.0)}


def trained(shape: tuple[int, ...], *, per_channel: bool = False) -> QuantizedWeight:
    return quantize_weight(weights(*shape, seed=5), Grid(), per_channel=per_channel)


def assert_folded_like_onnxruntime(
    body: str, constants: dict[str, Constant], table: dict[str, QuantizedWeight], outputs: tuple[str, ...] = ("y",)
) -> tuple[ir.Model, dict[str, QuantizedWeight]]:
    """The folded float model computes what onnxruntime computes with the batch norm in place."""
    values = {name: weight.values for name, weight in table.items()}
    proto = float_proto(body, {**constants, **values}, IMAGE, outputs)
    wanted = run_onnxruntime(proto, samples())
    model = ir.from_proto(proto)
    weight_grids = fold_model(model, table)
    assert all(node.op_type != "BatchNormalization" for node in model.graph)
    for got, real in zip(run_onnxruntime(model, samples()), wanted, strict=True):
        np.testing.assert_allclose(got, real, rtol=1e-4, atol=1e-4)  # float32 sums in another order
    return model, weight_grids


def test_one_step_a_tensor_is_taken_before_the_fold() -> None:
    weight = weights(CHANNELS, 3, 3, 3, seed=5)
    body = f"c = Conv <pads = [1, 1, 1, 1]> (x, w)\n y = {NORM}"
    model = float_model(body, {**norm_constants(), "w": weight}, IMAGE)
    folded = fold_model(model, {}, per_channel=False)["w"]
    whole, gamma = quantize_weight(weight, Grid()), norm_constants()["gamma"]
    assert isinstance(gamma, np.ndarray)
    signs = np.sign(gamma).astype(np.int8).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(folded.codes, whole.codes * signs)


@pytest.mark.parametrize("per_channel", [False, True])
def test_codes_are_kept_up_to_the_sign_of_gamma(per_channel: bool) -> None:
    constants, weight = norm_constants(), trained((CHANNELS, 3, 3, 2), per_channel=per_channel)
    _, grids = assert_folded_like_onnxruntime(f"c = Conv (x, w)\n y = {NORM}", constants, {"w": weight})
    gamma = np.asarray(constants["gamma"])
    folded = grids["w"]
    np.testing.assert_array_equal(folded.codes, weight.codes * np.sign(gamma).astype(np.int8)[:, None, None, None])
    factor = np.abs(gamma.astype(np.float64)) / np.sqrt(np.asarray(constants["var"], np.float64) + 1e-5)
    wanted = np.where(gamma == 0, 1, (weight.step * factor).astype(np.float32))
    np.testing.assert_array_equal(folded.step, wanted.astype(np.float32))


def test_a_gamma_too_small_for_float32_silences_its_channel() -> None:
    gamma = np.full(CHANNELS, 0.5, np.float32)
    gamma[3], gamma[4] = 1e-38, -1e-30
    constants = norm_constants(gamma=gamma)
    layer = FoldedLayer(trained((CHANNELS, 3, 1, 1)), weights(CHANNELS))
    gamma, beta, mean, variance = (np.asarray(constants[key], np.float32) for key in ("gamma", "beta", "mean", "var"))
    folded = fold_batch_norm(layer, BatchNorm(gamma, beta, mean, variance, 1e-5))
    assert not folded.weight.codes[3].any()
    assert folded.weight.step[3] == 1
    np.testing.assert_array_equal(folded.weight.codes[4], -layer.weight.codes[4])
    assert folded.weight.step[4] > 0


@pytest.mark.parametrize("shift", [0, 1])
def test_channels_of_every_size_become_int8(shift: int) -> None:
    """Gammas from 0 over 1e-30 to 1: what cannot move the output is silenced, all runtimes agree on the rest."""
    gamma = np.array([1e-36, -0.5, 0, 1e-30, -1e-12, 1e-6, -1e-3, 1], np.float32)
    zero = np.zeros(CHANNELS, np.float32)
    constants = norm_constants(gamma=gamma) if shift else norm_constants(gamma=gamma, beta=zero, mean=zero)
    body = f"c = Conv (x, w, b)\n y = {NORM}"
    proto = float_proto(body, {**constants, "w": weights(CHANNELS, 3, 3, 2), "b": shift * weights(CHANNELS)}, IMAGE)
    assert_int8_is_right(proto, "CONV_2D")


def test_a_silenced_channel_before_a_fine_output_grid() -> None:
    """Its step is 1: input step x 1 / output step may pass the 256 that XNNPACK takes, and the file must still run."""
    gamma = np.full(CHANNELS, 1e-4, np.float32)
    gamma[2] = 0
    zero = np.zeros(CHANNELS, np.float32)
    constants = norm_constants(gamma=gamma, beta=zero, mean=zero)
    proto = float_proto(f"c = Conv (x, w)\n y = {NORM}", {**constants, "w": weights(CHANNELS, 3, 3, 2)}, IMAGE)
    artifact = assert_int8_is_right(proto, "CONV_2D", {"x": 40 * samples()["x"]})
    assert not artifact.weights["w"].codes[2].any()


def test_untrained_weights_are_rounded_after_the_fold() -> None:
    """From max-abs of the folded channel, so that each uses its grid to the end."""
    constants = norm_constants()
    model = float_model(f"c = Conv (x, w)\n y = {NORM}", {**constants, "w": weights(CHANNELS, 3, 3, 2)}, IMAGE)
    codes = fold_model(model, {})["w"].codes
    alive = np.asarray(constants["gamma"]) != 0
    assert (np.abs(codes).reshape(CHANNELS, -1).max(axis=1)[alive] == 127).all()
    assert not codes[~alive].any()


def test_a_shared_weight_with_two_batch_norms() -> None:
    body = """
        c = Conv (x, conv.weight)
        y = BatchNormalization (c, gamma, beta, mean, var)
        d = Conv (x, conv.weight)
        z = BatchNormalization (d, gamma2, beta, mean, var)
    """.replace("conv.weight", "w")
    weight = trained((CHANNELS, 3, 3, 2))
    constants = {**norm_constants(), "gamma2": weights(CHANNELS, seed=8) - 0.2}
    _, grids = assert_folded_like_onnxruntime(body, constants, {"w": weight}, ("y", "z"))
    assert len(grids) == 2
    for folded, gamma in zip(sorted(grids, key=len, reverse=True), ("gamma", "gamma2"), strict=True):
        sign = np.sign(np.asarray(constants[gamma])).astype(np.int8)
        np.testing.assert_array_equal(grids[folded].codes, weight.codes * sign[:, None, None, None])


@pytest.mark.parametrize(
    ("body", "channels", "becomes"),
    [
        (f"c = Relu (x)\n y = {NORM}", 3, "QUANTIZE DEPTHWISE_CONV_2D"),
        (f"c = Add (x, x)\n n = {NORM}\n y = Relu (n)", 3, "ADD DEPTHWISE_CONV_2D"),
        (
            f"c = Conv (x, w)\n r = Relu (c)\n n = {NORM}\n y = Add (n, r)",
            CHANNELS,
            "CONV_2D QUANTIZE DEPTHWISE_CONV_2D ADD",
        ),
        (f"c = Conv (x, w)\n n = {NORM}\n y = Add (n, c)", CHANNELS, "CONV_2D DEPTHWISE_CONV_2D ADD"),
    ],
)
def test_a_batch_norm_of_its_own_becomes_a_depthwise_convolution(body: str, channels: int, becomes: str) -> None:
    constants = norm_constants(channels, gamma=weights(channels, seed=1))
    assert_folded_like_onnxruntime(body, constants, {"w": trained((CHANNELS, 3, 1, 1))})
    constants["w"] = weights(CHANNELS, 3, 1, 1)
    assert_int8_is_right(float_proto(body, constants, IMAGE), becomes)


def test_a_convolution_that_is_an_output_too() -> None:
    constants = {**norm_constants(gamma=weights(CHANNELS, seed=1)), "w": weights(CHANNELS, 3, 1, 1)}
    body = f"c = Conv (x, w)\n y = {NORM}"
    assert_int8_is_right(float_proto(body, constants, IMAGE, ("c", "y")), "CONV_2D DEPTHWISE_CONV_2D")


def test_a_batch_norm_after_a_dense_layer() -> None:
    body = f"f = Flatten (x)\n c = Gemm <transB = 1> (f, w, b)\n y = {NORM}"
    constants = {**norm_constants(), "b": weights(CHANNELS)}
    weight = trained((CHANNELS, 105))
    _, grids = assert_folded_like_onnxruntime(body, constants, {"w": weight})
    sign = np.sign(np.asarray(constants["gamma"])).astype(np.int8)
    np.testing.assert_array_equal(grids["w"].codes, weight.codes * sign[:, None])


def test_matmul_and_gemm_of_other_layout_have_a_step_an_output() -> None:
    body = "f = Flatten (x)\n m = MatMul (f, w)\n y = Gemm (m, v)"
    model = float_model(body, {"w": weights(105, 4), "v": weights(4, 6)}, IMAGE)
    grids = fold_model(model, {})
    assert {name: grid.step.shape for name, grid in grids.items()} == {"w": (4,), "v": (6,)}
    assert (np.abs(grids["v"].codes).max(axis=0) == 127).all()


@pytest.mark.parametrize(
    ("parameter", "value", "word"),
    [
        ("var", -0.5, "variance of channel 2"),
        ("var", np.nan, "variance of channel 2"),
        ("gamma", np.nan, "gamma of channel 2"),
        ("beta", np.inf, "beta of channel 2"),
        ("mean", -np.inf, "mean of channel 2"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_a_bad_batch_norm_names_layer_and_channel(parameter: str, value: float, word: str, known: bool) -> None:
    weight = trained((CHANNELS, 3, 1, 1))
    constants = {**norm_constants(), "block.conv.weight": weight.values}
    np.asarray(constants[parameter])[2] = value
    body = f"c = Conv (x, w)\n y = {NORM}"
    model = float_model(body, {**constants, "w": weight.values}, IMAGE)
    model.graph.initializers["w"].name = "block.conv.weight_"
    table = {"block.conv.weight_": weight} if known else {}
    with pytest.raises(ExportError, match=re.escape(word)) as caught:
        fold_model(model, table)
    assert "layer block.conv" in str(caught.value)


@pytest.mark.parametrize("bad", ["w", "b"])
def test_nan_in_a_layer_is_named(bad: str) -> None:
    constants = {"w": weights(4, 3, 1, 1), "b": weights(4)}
    constants[bad].ravel()[1] = np.nan
    with pytest.raises(ExportError, match=r"layer w: the (weight|bias) has values that are NaN"):
        fold_model(float_model("y = Conv (x, w, b)", constants, IMAGE), {})


def test_a_trained_grid_of_another_shape_is_refused() -> None:
    model = float_model("y = Conv (x, w)", {"w": weights(4, 3, 1, 1)}, IMAGE)
    with pytest.raises(ExportError, match="layer w: the trained codes do not fit"):
        fold_model(model, {"w": trained((4, 3, 2, 2))})


@pytest.mark.parametrize("body", ["c = Conv (x, w)", "c = Tanh (x)"])
def test_a_batch_norm_behind_a_batch_norm_becomes_a_layer(body: str) -> None:
    names = ", ".join(f"n{i}" for i in range(4))
    constants = {f"n{i}": np.abs(weights(3, seed=i)) + 0.1 for i in range(4)}
    more = f"\n d = BatchNormalization (c, {names})\n y = BatchNormalization (d, {names})"
    model = float_model(body + more, {"w": weights(3, 3, 1, 1), **constants}, {"x": (1, 3, 6, 11)})
    before = run_onnxruntime(model, random_samples({"x": (1, 3, 6, 11)}))[0]
    fold_model(model, {})
    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    after = run_onnxruntime(model, random_samples({"x": (1, 3, 6, 11)}))[0]
    assert np.abs(after - before).max() < 0.02 * np.ptp(before)  # the weights are on grids now
