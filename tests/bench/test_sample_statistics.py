"""Percentiles against numpy, confidence intervals against scipy and against chance, the verdict on noise."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.bench.sample_statistics import NoiseLimits, noise, summarize
from edgeq.errors import EdgeqError, RecipeError


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=300))
def test_percentiles_are_numpys(times: list[int]) -> None:
    summary = summarize(times)
    wanted = np.percentile(times, [50, 90, 99])
    assert [summary.p50.value_ns, summary.p90.value_ns, summary.p99.value_ns] == pytest.approx(wanted)
    assert (summary.runs, summary.min_ns, summary.max_ns) == (len(times), min(times), max(times))
    assert summary.mean_ns == pytest.approx(np.mean(times))


@pytest.mark.parametrize("runs", [6, 7, 10, 31, 100, 1000])
@pytest.mark.parametrize(("fraction", "name"), [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")])
def test_an_interval_is_the_narrowest_whose_tails_are_small(runs: int, fraction: float, name: str) -> None:
    """Times are their own ranks, so that the interval's ends are; tails from scipy's binomial distribution."""
    below = pytest.importorskip("scipy.stats").binom(runs, fraction).cdf
    part = getattr(summarize(list(range(1, runs + 1))), name)
    if part.low_ns is None:
        assert below(0) > 0.025 or 1 - below(runs - 1) > 0.025
        return
    low, high = part.low_ns, part.high_ns
    assert below(low - 1) <= 0.025 < below(low)
    assert 1 - below(high - 1) <= 0.025 < 1 - below(high - 2)


def test_too_few_runs_have_no_interval() -> None:
    five, fifty = summarize([5, 4, 3, 2, 1]), summarize(list(range(1, 51)))
    assert (five.p50.low_ns, five.p50.high_ns) == (None, None)
    assert fifty.p90.low_ns is not None
    assert (fifty.p99.low_ns, fifty.p99.high_ns) == (None, None)


@pytest.mark.parametrize(("fraction", "name"), [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")])
def test_the_interval_holds_the_true_percentile_often_enough(fraction: float, name: str) -> None:
    """Over exponential times, whose percentiles are known, 400 measurements of 600 runs each."""
    rng = random.Random(7)
    true_ns = -np.log(1 - fraction) * 1e6
    held = 0
    for _ in range(400):
        part = getattr(summarize([int(rng.expovariate(1e-6)) + 1 for _ in range(600)]), name)
        held += part.low_ns <= true_ns <= part.high_ns
    assert held >= 366  # 380 wanted at least; 3 standard deviations of 400 trials are 13


def test_many_runs_do_not_underflow() -> None:
    p50 = summarize(list(range(1, 100_001))).p50
    assert p50.low_ns is not None
    assert p50.high_ns is not None
    # The normal approximation, 50000 -+ 1.96 sqrt(100000)/2, is exact to a rank or two here.
    assert abs(p50.low_ns - 49690) <= 2
    assert abs(p50.high_ns - 50311) <= 2


@pytest.mark.parametrize("times", [[], [0], [5, -1]])
def test_no_timing_is_an_error(times: list[int]) -> None:
    with pytest.raises(EdgeqError, match="no timing to summarize"):
        summarize(times)


def test_a_quiet_measurement_has_no_reasons() -> None:
    assert noise(summarize([1000, 1004, 998, 1001, 1003, 999] * 5), NoiseLimits()) == ()


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ([1000] * 9, "9 runs are too few"),
        ([900, 1000, 1100, 1200] * 10, "the middle half of the runs spreads over 14.3% (limit 10.0%)"),
        ([1000] * 20 + [1060] * 20, "the second half of the runs is 6.0% slower than the first (limit 5.0%)"),
        ([1060] * 20 + [1000] * 20, "the second half of the runs is 5.7% faster than the first (limit 5.0%)"),
    ],
)
def test_noise_is_named(times: list[int], reason: str) -> None:
    (found,) = noise(summarize(times), NoiseLimits())
    assert found.startswith(reason)


def test_limits_are_positive() -> None:
    with pytest.raises(RecipeError, match="drift: must be positive"):
        NoiseLimits(drift=0.0)
