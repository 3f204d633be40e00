"""The range to keep of a histogram: the share of values it holds, or what clipping and rounding cost together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy_range", "least_squares_range", "percentile_range"]

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


def entropy_range(counts: Counts, edges: Edges, least: float, most: float) -> tuple[float, float]:
    """The symmetric clipping with the least Kullback-Leibler divergence between the values and 255 levels of them.

    Args:
        counts, edges, least, most: as for :func:`percentile_range`.

    Source: Migacz 2017, "8-bit inference with TensorRT".
    """
    best, kept, previous = np.inf, (least, most), (0, 0)
    for size in np.linspace(1 / CANDIDATES, 1, CANDIDATES) * max(abs(least), abs(most)):
        start, end = np.searchsorted(edges, [-size, size]) if size < max(-least, most) else (0, len(counts))
        start, end = max(int(start), 0), min(int(end), len(counts))
        if end - start < min(LEVELS, len(counts)) or (start, end) == previous:
            continue
        previous = (start, end)
        if (divergence := _divergence(counts, start, end)) < best:
            best = divergence
            kept = max(float(edges[start]), least), min(float(edges[end]), most)
    return kept


def _divergence(counts: Counts, start: int, end: int) -> float:
    """Of the bins from start to end, what is clipped added at their ends, from their merging into levels."""
    inside = counts[start:end].astype(np.float64)
    level = np.arange(len(inside)) * LEVELS // max(len(inside), LEVELS)
    used = inside > 0
    share = np.bincount(level, inside) / np.maximum(np.bincount(level, used), 1)
    merged = np.where(used, share[level], 0.0)
    reference = inside.copy()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[end:].sum()
    if not inside.any():
        return float(np.inf)
    reference, merged = reference / reference.sum(), np.maximum(merged / merged.sum(), 1e-12)
    held = reference > 0
    return float((reference[held] * np.log(reference[held] / merged[held])).sum())


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
