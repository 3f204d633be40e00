from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from int8_models import Arrays, float_model, random_samples, run_onnxruntime, weights
from numpy.typing import NDArray

from edgeq.calibrate import CalibrationRecipe, calibrate, load_calibration
from edgeq.calibrate.clipping import least_squares_range
from edgeq.errors import DataError, ExportError, RecipeError
from edgeq.export.activations import ActivationGrid, activation_values
from edgeq.resources import data_names

BODY = "c = Conv (x, w, b)\n r = Relu (c)\n p = MaxPool <kernel_shape = [2, 2]> (r)\n z = Tanh (q)\n y = Add (p, z)"
INPUTS = {"x": (1, 3, 5, 7), "q": (1, 4, 1, 1)}
SAMPLES = 24


def network() -> ir.Model:
    return float_model(BODY, {"w": weights(4, 3, 2, 2), "b": weights(4)}, INPUTS)


def samples() -> Arrays:
    data = random_samples(INPUTS, SAMPLES)
    data["x"][3, 1, 2, 2] = 15  # an outlier, so that the methods differ
    return data


def activations() -> dict[str, NDArray[np.float32]]:
    """What every value is over all samples, from a run of onnxruntime that shares nothing with the calibrators."""
    model = network()
    names = [str(value.name) for value in activation_values(model) if value.producer() is not None]
    proto = ir.to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return dict(zip(names, run_onnxruntime(proto, samples()), strict=True)) | samples()


def method(name: str, **options: object) -> CalibrationRecipe:
    return CalibrationRecipe(method=name, **options)  # type: ignore[arg-type]


def test_minmax_is_the_smallest_and_largest_value_seen() -> None:
    wanted = {name: (values.min(), values.max()) for name, values in activations().items()}
    found = calibrate(network(), samples(), method("minmax"))
    assert found.keys() == wanted.keys()
    for name, ends in wanted.items():
        np.testing.assert_allclose(found[name], ends, rtol=1e-5, err_msg=name)  # other sums, other last digits


@pytest.mark.parametrize("percentile", [90.0, 99.0, 100.0])
def test_percentile_is_within_a_bin_of_the_quantiles(percentile: float) -> None:
    recipe = method("percentile", percentile=percentile, bins=2048)
    found = calibrate(network(), samples(), recipe)
    for name, values in activations().items():
        cut = (100 - percentile) / 2
        bins = 2 * (2 * np.abs(values).max() / 2048)
        low, high = found[name]
        assert 100 * np.mean(values < low - bins) <= cut <= 100 * np.mean(values <= low + bins), name
        assert 100 * np.mean(values > high + bins) <= cut <= 100 * np.mean(values >= high - bins), name


@pytest.mark.parametrize("name", ["mse", "percentile"])
def test_no_method_goes_beyond_what_was_seen(name: str) -> None:
    found = calibrate(network(), samples(), method(name, bins=2048))
    for value, seen in activations().items():
        bin_width = 2 * np.abs(seen).max() / 2048
        assert found[value][0] >= min(seen.min(), 0) - bin_width, value
        assert found[value][1] <= max(seen.max(), 0) + bin_width, value
        assert found[value][0] <= found[value][1]


def squared_error(values: NDArray[np.float32], low: float, high: float) -> float:
    grid = ActivationGrid.from_range(low, high)
    codes = np.clip(np.rint(values.astype(np.float64) / grid.scale) + grid.zero_point, -128, 127)
    return float(((values - grid.scale * (codes - grid.zero_point)) ** 2).mean())


def test_mse_is_no_worse_than_minmax() -> None:
    found = calibrate(network(), samples(), method("mse"))
    for name, values in activations().items():
        mine, other = (
            squared_error(values, *found[name]),
            squared_error(values, float(values.min()), float(values.max())),
        )
        assert mine <= other * 1.05, name  # a histogram's bins blur the values by at most half a bin


def test_mse_of_a_histogram_is_the_best_of_all_pairs_of_ends() -> None:
    """Of values with long tails, which are worth clipping."""
    values = np.random.default_rng(0).laplace(size=100_000).astype(np.float32)
    least, most = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, 2048, (-max(-least, most), max(-least, most)))
    low, high = least_squares_range(counts, edges, least, most)
    shares = np.linspace(1 / 64, 1, 64)[7::8]
    best = min(squared_error(values, a * least, b * most) for a in shares for b in shares)
    assert squared_error(values, low, high) <= best * 1.05
    assert squared_error(values, low, high) < 0.9 * squared_error(values, least, most)


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse"])
def test_the_order_of_the_samples_changes_nothing(name: str) -> None:
    backwards = {key: array[::-1] for key, array in samples().items()}
    assert calibrate(network(), backwards, method(name)) == calibrate(network(), samples(), method(name))


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse"])
def test_values_that_are_always_zero_or_constant(name: str) -> None:
    body = "n = Mul (x, minus)\n m = Relu (n)\n y = Add (m, m)"
    model = float_model(body, {"minus": -1.0}, {"x": (1, 3, 5, 7)})
    found = calibrate(model, {"x": np.full((4, 3, 5, 7), 2.5, np.float32)}, method(name))
    assert found["x"][1] == pytest.approx(2.5, rel=0.02)
    assert found["n"][0] == pytest.approx(-2.5, rel=0.02)
    for value in ("m", "y"):
        assert np.abs(found[value]).max() <= 1e-3
    for low, high in found.values():
        assert ActivationGrid.from_range(low, high).scale > 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": np.zeros((0, 3, 5, 7), np.float32), "q": np.zeros((0, 4, 1, 1), np.float32)}, "set is empty"),
        ({"x": np.zeros((2, 3, 7, 5), np.float32), "q": np.zeros((2, 4, 1, 1), np.float32)}, "x: .*wrong shape"),
        ({"x": np.zeros((2, 3, 5, 7), np.float32), "q": np.zeros((3, 4, 1, 1), np.float32)}, "one sample or more"),
        ({"x": np.zeros((2, 3, 5, 7), np.float32)}, "q: the calibration set lacks an input"),
    ],
)
def test_a_calibration_set_that_does_not_fit(data: Arrays, message: str) -> None:
    with pytest.raises(DataError, match=message):
        calibrate(network(), data, method("minmax"))


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_told(name: str, value: float) -> None:
    data = samples()
    data["x"][1, 0, 0, 0] = value
    with pytest.raises(DataError, match=r"x: .*NaN or infinite"):
        calibrate(network(), data, method(name))


def test_a_network_that_overflows_is_told() -> None:
    from edgeq.export.activations import activation_grids

    model = float_model("a = Mul (x, big)\n y = Mul (a, a)", {"big": 1e30}, {"x": (1, 3)})
    data = {"x": np.ones((2, 3), np.float32)}
    with pytest.raises(ExportError, match=r"value y.*range cannot be used"):
        activation_grids(model, calibrate(model, data, method("minmax")), {})


@pytest.mark.parametrize("name", data_names("calibration"))
def test_the_recipes_that_ship(name: str) -> None:
    recipe = load_calibration(name)
    assert recipe.method == ("minmax" if name in ("corrected", "equalized") else name)
    assert (recipe.correct_bias, recipe.equalize) == (name in ("corrected", "equalized"), name == "equalized")
    assert recipe.description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "median"', "method"),
        ("samples = 0", "samples: out of range"),
        ("percentile = 50.0", "percentile: out of range"),
        ("bins = 4", "bins: out of range"),
        ("sample = 5", "samples"),
    ],
)
def test_a_recipe_of_ones_own_is_checked(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_calibration(str(path))
