"""What repeated timings say: percentiles, how sure they are, and whether the machine was quiet. No measuring here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.errors import EdgeqError, RecipeError

__all__ = ["NoiseLimits", "Percentile", "Summary", "noise", "summarize"]

CONFIDENCE = 0.95
_FEW_RUNS = 10


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of the run times.

    Attributes:
        value_ns: interpolated between the two nearest runs (Hyndman and Fan 1996, type 7; numpy's default).
        low_ns, high_ns: confidence interval of 95 % or a little more; None where the runs are too few for one.
    """

    value_ns: float
    low_ns: int | None
    high_ns: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Timings of one thing done many times.

    Attributes:
        runs: how many there are.
        p50, p90, p99: percentiles with their confidence intervals.
        mean_ns, min_ns, max_ns: of all runs.
        spread: interquartile range over the median; 0.02 says that the middle half of the runs lies within 2 %.
        drift: median of the second half over that of the first, less 1; 0.05 says that runs became 5 % slower.
    """

    runs: int
    p50: Percentile
    p90: Percentile
    p99: Percentile
    mean_ns: float
    min_ns: int
    max_ns: int
    spread: float
    drift: float


@dataclass(frozen=True, slots=True)
class NoiseLimits:
    """From where on a measurement counts as noisy.

    The defaults are a choice, no law of nature: a quiet board with a fixed clock stays well below them, and beyond them
    two models that differ by a few percent cannot be told apart.

    Attributes:
        spread: largest :attr:`Summary.spread`.
        drift: largest :attr:`Summary.drift`, in either direction.
    """

    spread: float = 0.10
    drift: float = 0.05

    def __post_init__(self) -> None:
        for name in ("spread", "drift"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise RecipeError("must be positive and finite", where=name, got=getattr(self, name))


def summarize(times_ns: Sequence[int]) -> Summary:
    """Summarize timings, given in the order they were taken.

    Raises:
        EdgeqError: there is none, or one is not positive.
    """
    if not times_ns or min(times_ns) <= 0:
        raise EdgeqError(
            "no timing to summarize", got="none" if not times_ns else min(times_ns), wanted="times above 0"
        )
    ordered = sorted(times_ns)
    median = _quantile(ordered, 0.5)
    half = len(times_ns) // 2
    first, second = sorted(times_ns[: half or 1]), sorted(times_ns[half:])
    return Summary(
        runs=len(ordered),
        p50=_percentile(ordered, 0.5),
        p90=_percentile(ordered, 0.9),
        p99=_percentile(ordered, 0.99),
        mean_ns=math.fsum(ordered) / len(ordered),
        min_ns=ordered[0],
        max_ns=ordered[-1],
        spread=(_quantile(ordered, 0.75) - _quantile(ordered, 0.25)) / median,
        drift=_quantile(second, 0.5) / _quantile(first, 0.5) - 1,
    )


def noise(summary: Summary, limits: NoiseLimits) -> tuple[str, ...]:
    """Why the timings should not be trusted, one reason an entry; empty for a quiet measurement."""
    reasons = []
    if summary.runs < _FEW_RUNS:
        reasons.append(f"{summary.runs} runs are too few to judge; take {_FEW_RUNS} or more")
    if summary.spread > limits.spread:
        reasons.append(f"the middle half of the runs spreads over {summary.spread:.1%} (limit {limits.spread:.1%})")
    if abs(summary.drift) > limits.drift:
        word = "slower" if summary.drift > 0 else "faster"
        reasons.append(
            f"the second half of the runs is {abs(summary.drift):.1%} {word} than the first (limit {limits.drift:.1%})"
        )
    return tuple(reasons)


def _quantile(ordered: Sequence[int], fraction: float) -> float:
    place = (len(ordered) - 1) * fraction
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _percentile(ordered: Sequence[int], fraction: float) -> Percentile:
    ranks = _interval_ranks(len(ordered), fraction)
    low, high = (None, None) if ranks is None else (ordered[ranks[0] - 1], ordered[ranks[1] - 1])
    return Percentile(_quantile(ordered, fraction), low, high)


def _interval_ranks(runs: int, fraction: float) -> tuple[int, int] | None:
    """Ranks (1 is the least) of the two runs that a quantile lies between with a probability of at least 95 %.

    The number B of runs below the true quantile is binomial(runs, fraction) whatever the distribution of the times, so
    the run of rank l is at most the quantile when B >= l, and the one of rank u at least it when B < u. l is the
    largest rank with P(B < l) <= 2.5 %, u the least with P(B >= u) <= 2.5 %. None where no such ranks are there (for
    the median, below 6 runs).

    Source: Conover, Practical Nonparametric Statistics, 3rd edition 1999, section 3.2; Hoefler and Belli, Scientific
    Benchmarking of Parallel Computing Systems, SC 2015, ask for it where times are not normal, as they seldom are.
    """
    tail = (1 - CONFIDENCE) / 2
    log_terms = (
        math.lgamma(runs + 1)
        - math.lgamma(k + 1)
        - math.lgamma(runs - k + 1)
        + k * math.log(fraction)
        + (runs - k) * math.log1p(-fraction)
        for k in range(runs + 1)
    )
    probabilities = [math.exp(term) for term in log_terms]
    low, below = 0, 0.0
    while low < runs and below + probabilities[low] <= tail:
        below += probabilities[low]
        low += 1  # P(B < low) = below
    high, above = runs + 1, 0.0
    while high > 1 and above + probabilities[high - 1] <= tail:
        high -= 1
        above += probabilities[high]  # P(B >= high) = above
    return (low, high) if low >= 1 and high <= runs else None
