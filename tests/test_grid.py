from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgeq.errors import ExportError, RecipeError
from edgeq.grid import Function, Grid, QuantizedWeight, bits_to_frequency, frequency_to_bits, quantize_weight

FUNCTIONS: tuple[Function, ...] = ("sine", "cosine", "hat")
GRIDS = st.one_of(
    st.builds(Grid, st.integers(2, 8), st.sampled_from(["sine", "hat"])),
    st.builds(Grid, st.integers(1, 7), st.just("cosine")),
)
WEIGHTS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    # A step that is no normal float32 is another matter: see test_a_step_below_the_normal_numbers.
    elements=st.just(0.0) | st.floats(2**-96, 2**20, width=32) | st.floats(-(2**20), -(2**-96), width=32),
)


@pytest.mark.parametrize(
    ("function", "bits", "frequency"),
    [("sine", 2, 1), ("sine", 3, 3), ("sine", 4, 7), ("sine", 8, 127), ("hat", 2, 1), ("hat", 8, 127),
     ("cosine", 1, 1), ("cosine", 2, 2), ("cosine", 3, 4), ("cosine", 7, 64)],
)  # fmt: skip
def test_bits_and_frequency(function: Function, bits: int, frequency: int) -> None:
    """Eq. 10 and 12, and back by eq. 11 and 13; ternary is 2 bits of sine, binary 1 bit of cosine."""
    assert bits_to_frequency(bits, function) == frequency
    assert frequency_to_bits(frequency, function) == bits


@given(st.floats(0.5, 1000), st.sampled_from(FUNCTIONS))
def test_more_frequency_is_more_bits(frequency: float, function: Function) -> None:
    assert frequency_to_bits(frequency, function) < frequency_to_bits(frequency * 1.5, function)


def test_a_frequency_must_be_positive() -> None:
    for frequency in (0, -1.0, float("nan")):
        with pytest.raises(RecipeError, match="positive"):
            frequency_to_bits(frequency)


def test_grids_that_int8_has_no_room_for() -> None:
    with pytest.raises(RecipeError, match=r"at most 7 with cosine.*sine for 8"):
        Grid(8, "cosine")
    with pytest.raises(RecipeError, match="at most 8 with sine"):
        Grid(9, "sine")


@pytest.mark.parametrize("function", ["sine", "hat"])
def test_one_bit_is_for_cosine_alone(function: Function) -> None:
    with pytest.raises(RecipeError, match="--regularizer cosine for 1 bit"):
        Grid(1, function)
    assert Grid(1, "cosine").qmax == 1


@pytest.mark.parametrize("bits", [0, -3])
def test_no_grid_has_less_than_a_bit(bits: int) -> None:
    for function in FUNCTIONS:
        with pytest.raises(RecipeError, match=r"no .*-bit form"):
            Grid(bits, function)


def test_an_unknown_function() -> None:
    with pytest.raises(RecipeError, match="unknown periodic function"):
        Grid(4, "sawtooth")  # type: ignore[arg-type]


def points(grid: Grid, peak: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The zeros of the periodic function in [-peak, peak], by the paper's formulas."""
    f = grid.frequency
    if grid.function == "cosine":
        return peak * (np.arange(-f, f) + 0.5) / f
    return peak * np.arange(-f, f + 1) / f


@settings(deadline=None)
@given(WEIGHTS, GRIDS, st.booleans())
def test_every_weight_goes_to_the_nearest_zero_of_the_periodic_function(
    weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]], grid: Grid, per_channel: bool
) -> None:
    quantized = quantize_weight(weight, grid, per_channel=per_channel)
    assert quantized.codes.dtype == np.int8
    assert quantized.codes.shape == weight.shape
    assert quantized.step.dtype == np.float32
    assert quantized.step.shape == ((len(weight),) if per_channel else (1,))
    assert np.abs(quantized.codes.astype(int)).max(initial=0) <= grid.qmax
    rows = weight.astype(np.float64).reshape(len(weight) if per_channel else 1, -1)
    found = quantized.values.astype(np.float64).reshape(rows.shape)
    for row, values, step in zip(rows, found, quantized.step, strict=True):
        peak = np.abs(row).max()
        if peak < 1e-30:
            continue
        best = np.abs(row[:, None] - points(grid, peak)).min(axis=1)
        # float32 steps: the point may be off by a few units in the last place of the peak
        np.testing.assert_array_less(np.abs(row - values), best + 1e-6 * peak)
        assert step == np.float32(peak / grid.steps_in_max)


@settings(deadline=None)
@given(WEIGHTS, GRIDS, st.booleans())
def test_what_is_on_the_grid_stays_there(
    weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]], grid: Grid, per_channel: bool
) -> None:
    """Snapping again changes no code where the largest code is used (sine, hat: always)."""
    once = quantize_weight(weight, grid, per_channel=per_channel)
    if grid.function == "cosine":
        return
    again = quantize_weight(once.values, grid, per_channel=per_channel)
    np.testing.assert_array_equal(again.codes, once.codes)
    assert again.distance < 1e-4


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 7))
def test_cosine_codes_are_odd(weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]], bits: int) -> None:
    quantized = quantize_weight(weight, Grid(bits, "cosine"))
    if weight.any():
        assert (quantized.codes % 2 == 1).all()
    else:
        assert not quantized.codes.any()


def test_one_bit_of_cosine_is_binary() -> None:
    weight = np.array([[0.1, -3.0, 2.0, -0.4]], np.float32)
    np.testing.assert_array_equal(quantize_weight(weight, Grid(1, "cosine")).codes, [[1, -1, 1, -1]])


def test_two_bits_of_sine_are_ternary() -> None:
    weight = np.array([[0.1, -3.0, 2.0, -1.4]], np.float32)
    np.testing.assert_array_equal(quantize_weight(weight, Grid(2)).codes, [[0, -1, 1, 0]])


def test_ties_go_to_even() -> None:
    weight = np.array([[127, 0.5, 1.5, -2.5, -127]], np.float32)
    np.testing.assert_array_equal(quantize_weight(weight, Grid(8)).codes, [[127, 0, 2, -2, -127]])


def test_zero_tensors_and_channels_have_codes_0_and_step_1() -> None:
    for function in FUNCTIONS:
        empty = quantize_weight(np.zeros((3, 2), np.float32), Grid(4, function))
        assert not empty.codes.any()
        np.testing.assert_array_equal(empty.step, [1])
        assert empty.distance == 0
        weight = np.array([[1, 2], [0, 0], [-4, 4]], np.float32)
        channels = quantize_weight(weight, Grid(4, function), per_channel=True)
        assert not channels.codes[1].any()
        assert channels.step[1] == 1
        assert np.abs(channels.codes[[0, 2]].astype(int)).max() == Grid(4, function).qmax


@given(st.floats(0, 2**-118, width=32), GRIDS)
def test_weights_too_small_for_a_step_are_still_finite(value: float, grid: Grid) -> None:
    quantized = quantize_weight(np.full((2, 2), value, np.float32), grid)
    assert (quantized.step >= np.finfo(np.float32).tiny).all()
    assert np.isfinite(quantized.values).all()
    assert np.isfinite(quantized.distance)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_names_its_layer(value: float) -> None:
    weight = np.ones((2, 3), np.float32)
    weight[1, 2] = value
    with pytest.raises(ExportError, match=r"^layer1\.conv: the weight has values .* 1 of 6"):
        quantize_weight(weight, Grid(8), name="layer1.conv")


def test_the_distance_is_a_quarter_for_weights_anywhere() -> None:
    """Uniform weights lie 0 to half a step from a point, a quarter in the mean, on every grid."""
    weight = np.random.default_rng(0).uniform(-1, 1, (100, 1000)).astype(np.float32)
    for grid in (Grid(8), Grid(4, "hat"), Grid(4, "cosine"), Grid(1, "cosine")):
        assert quantize_weight(weight, grid).distance == pytest.approx(0.25, abs=0.005)


def test_values_multiply_a_step_a_channel() -> None:
    weight = QuantizedWeight(np.array([[[1, 2]], [[3, -4]]], np.int8), np.array([0.5, 2], np.float32), Grid(), 0.0)
    np.testing.assert_array_equal(weight.values, [[[0.5, 1]], [[6, -8]]])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_step_below_the_normal_numbers(function: Function) -> None:
    """No runtime takes such a scale: the weights count as zeros."""
    quantized = quantize_weight(np.full((2, 3), np.finfo(np.float32).tiny), Grid(4, function))
    assert not quantized.codes.any()
    assert quantized.step.tolist() == [1.0]
