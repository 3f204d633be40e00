from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from int8_models import Constant, artifact_of, assert_layers_agree, float_model, parity, random_samples, weights

from edgeq.errors import ExportError
from edgeq.export.activations import PIXEL_GRID, ActivationGrid, activation_grids

ENDS = st.floats(-1e6, 1e6, width=32)


@given(ENDS, ENDS)
def test_a_grid_holds_zero_and_its_range(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    grid = ActivationGrid.from_range(low, high)
    assert -128 <= grid.zero_point <= 127
    assert grid.scale > 0
    assert grid.scale == np.float32(grid.scale)
    assert grid.low <= 0 <= grid.high
    if max(abs(low), abs(high)) > 1e-30:
        # The zero point is rounded: an end may miss by half a step.
        assert grid.low <= min(low, 0) + 0.51 * grid.scale
        assert grid.high >= max(high, 0) - 0.51 * grid.scale


def test_a_value_that_is_always_zero() -> None:
    assert ActivationGrid.from_range(0, 0) == ActivationGrid(1.0, -128)


def test_pixels_are_codes_plus_128() -> None:
    pixels = np.arange(256)
    codes = np.rint((pixels - 128) / 128 / PIXEL_GRID.scale) + PIXEL_GRID.zero_point
    np.testing.assert_array_equal(codes, pixels - 128)


BODY = """
    c = Conv (x, w)
    p = MaxPool <kernel_shape = [2, 2]> (c)
    r = Relu (p)
    s = Slice (p, zero, one, axes)
    g = Concat <axis = 1> (r, s)
    t = Tanh (g)
    q = AveragePool <kernel_shape = [1, 2]> (t)
    y = Add (q, q)
"""
CONSTANTS: dict[str, Constant] = {"w": weights(4, 3, 1, 1), "zero": [0], "one": [3], "axes": [1]}


def test_what_must_share_a_grid_does() -> None:
    """Pools, slices and concatenations with all that they read; tanh has the grid that TFLite fixes."""
    model = float_model(BODY, CONSTANTS, {"x": (1, 3, 5, 7)})
    ranges = {name: (-1.0 - i, 2.0 + i) for i, name in enumerate("xcprsgtqy")}
    ranges |= {"t": (-0.9, 0.95), "q": (-0.5, 0.5)}
    grids = activation_grids(model, ranges, {"x": PIXEL_GRID})
    assert grids["x"] == PIXEL_GRID
    assert len({grids[name] for name in "cprsg"}) == 1
    assert grids["t"] == grids["q"] == ActivationGrid(1 / 128, 0)
    assert grids["c"].low <= -6 + grids["c"].scale
    assert grids["c"].high >= 7 - grids["c"].scale
    assert len({grids[name] for name in "xctry"}) >= 4 - 1


def test_a_grid_that_is_given_is_left_where_others_do_not_fit() -> None:
    model = float_model("y = MaxPool <kernel_shape = [2, 2]> (x)", {}, {"x": (1, 3, 5, 7)})
    near = activation_grids(model, {"x": (-1, 0.99), "y": (-0.9, 0.99)}, {"x": PIXEL_GRID})
    assert near["x"] == near["y"] == PIXEL_GRID
    model = float_model("y = Concat <axis = 1> (x, z)", {}, {"x": (1, 3, 5, 7), "z": (1, 2, 5, 7)})
    far = activation_grids(model, {"x": (-1, 0.99), "z": (-9, 9), "y": (-9, 9)}, {"x": PIXEL_GRID})
    assert far["x"] == PIXEL_GRID
    assert far["z"] == far["y"] == ActivationGrid.from_range(-9, 9)


@pytest.mark.parametrize("bad", [(np.nan, 1.0), (0.0, np.inf), (2.0, 1.0)])
def test_a_range_that_cannot_be_is_named(bad: tuple[float, float]) -> None:
    model = float_model("y = Relu (x)", {}, {"x": (1, 3)})
    with pytest.raises(ExportError, match="value y: the calibrated range cannot be used"):
        activation_grids(model, {"x": (-1, 1), "y": bad}, {})


def test_the_whole_of_it_needs_no_quantize() -> None:
    inputs = {"x": (1, 3, 5, 7)}
    artifact = artifact_of(float_model(BODY, CONSTANTS, inputs))
    assert artifact.notes == ()
    kinds = [operator.kind for operator in artifact.conversion.graph.operators]
    assert "QUANTIZE" not in kinds
    rows = parity(artifact.content, artifact.qdq, artifact.conversion.layouts, random_samples(inputs))
    assert_layers_agree(rows)
