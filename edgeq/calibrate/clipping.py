"""The range to keep of a histogram: the share of values it holds, or what clipping and rounding cost together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_squares_range", "percentile_range"]

LEVELS = 255
CANDIDATES = 64

Counts = NDArray[np.int64]
Edges = NDArray[np.float64]


def percentile_range(counts: Counts, edges: Edges, least: float, most: float, percentile: float) -> tuple[float, float]:
    """The range that holds a share of the values, an equal share cut off at each end, to a bin.

    Args:
        counts: values a bin, [B].
        edges: of the bins, [B + 1].
        least, most: the smallest and largest value seen.
        percentile: the share to keep, in percent.
    """
    below = np.cumsum(counts)
    cut = below[-1] * (100 - percentile) / 200
    first = int(np.searchsorted(below, cut, side="right"))
    last = int(np.searchsorted(below, below[-1] - cut, side="left"))
    last = min(last, len(counts) - 1)
    return max(float(edges[min(first, last)]), least), min(float(edges[last + 1]), most)


def least_squares_range(counts: Counts, edges: Edges, least: float, most: float) -> tuple[float, float]:
    """The range whose 8-bit grid has the least mean squared error over a histogram.

    Args:
        counts, edges, least, most: as for :func:`percentile_range`.

    Returns:
        (low, high): each end pulled in from least and most by the share that costs least, one end after the other.
    """
    centres = (edges[:-1].astype(np.float64) + edges[1:]) / 2
    used = counts > 0
    centres, weight = centres[used], counts[used].astype(np.float64)
    low, high = min(float(least), 0.0), max(float(most), 0.0)
    if not centres.size or high == low:
        return low, high
    shares = np.linspace(1 / CANDIDATES, 1, CANDIDATES)
    for _ in range(2):
        before = low, high
        if high > 0:
            highs = shares * max(float(most), 0.0)
            high = float(highs[np.argmin([_error(centres, weight, low, item) for item in highs])])
        if low < 0:
            lows = shares * min(float(least), 0.0)
            low = float(lows[np.argmin([_error(centres, weight, item, high) for item in lows])])
        if 0.0 in before:  # one end alone: a second look finds the same
            break
    return low, high


def _error(centres: NDArray[np.float64], weight: NDArray[np.float64], low: float, high: float) -> float:
    step = (high - low) / LEVELS
    rounded = np.rint(np.clip(centres, low, high) / step) * step
    return float(weight @ (centres - rounded) ** 2)
