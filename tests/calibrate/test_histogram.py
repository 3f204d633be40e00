from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeq.calibrate.clipping import percentile_range
from edgeq.calibrate.histogram import Histogram


def parts() -> list[NDArray[np.float32]]:
    """Values whose range grows from part to part, by 6 powers of ten."""
    generator = np.random.default_rng(0)
    return [(10.0**i * generator.laplace(size=(3, 50))).astype(np.float32) for i in range(-3, 4)]


@pytest.mark.parametrize("order", [1, -1])
def test_equals_numpys_over_the_same_edges(order: int) -> None:
    found = Histogram(512)
    for values in parts()[::order]:
        found.add(values)
    everything = np.concatenate([values.ravel() for values in parts()])
    assert (found.least, found.most) == (everything.min(), everything.max())
    np.testing.assert_array_equal(found.counts, np.histogram(everything.astype(np.float64), found.edges)[0])
    assert 256 <= len(found.counts) <= 512
    assert found.edges[0] <= found.least
    assert found.edges[-1] > found.most


@pytest.mark.parametrize("value", [0.0, 2.5, -3e-30, 1e30])
def test_a_constant_has_one_bin_that_holds_it(value: float) -> None:
    found = Histogram(512)
    for _ in range(2):
        found.add(np.full((2, 3), value, np.float32))
    assert found.counts.tolist() == [12]
    assert found.edges[0] <= np.float32(value) < found.edges[1]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_stays_known(value: float, place: int) -> None:
    found = Histogram(512)
    for item in np.insert([1.0, 2.0], place, value):
        found.add(np.array([item], np.float32))
    assert not np.isfinite(found.most - found.least)


def test_a_range_that_float32_cannot_span() -> None:
    found = Histogram(512)
    found.add(np.array([-3e38, 3e38], np.float32))
    assert found.counts.sum() == 2


def ends(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], float, float]:
    counts, edges = np.histogram(values, 2048)
    return counts, edges, float(values.min()), float(values.max())


def test_percentile_of_all_values_is_their_range() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    assert percentile_range(*ends(values), 100.0) == (values.min(), values.max())
