"""Shared values of one layer's weights: k-means in one dimension, where sorting makes every step a binary search."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Start", "codebook", "starting_values"]

Start = Literal["linear", "density", "random"]

MOST_ROUNDS = 300


def starting_values(values: NDArray[np.float64], count: int, start: Start, seed: int) -> NDArray[np.float64]:
    """Where k-means begins.

    Args:
        values: sorted, float64 [N].
        count: how many shared values.
        start: ``linear`` (evenly from the smallest to the largest), ``density`` (at even shares of the values) or
            ``random`` (values drawn from among them).
        seed: of ``random``.

    Returns:
        Sorted, float64 [count].

    Source: Han et al. 2016, arXiv:1510.00149, section 3.2.
    """
    if start == "linear":
        return np.linspace(values[0], values[-1], count)
    if start == "density":
        return np.quantile(values, (np.arange(count) + 0.5) / count)
    return np.sort(np.random.default_rng(seed).choice(values, count, replace=len(values) < count))


def codebook(weights: NDArray[np.float32], count: int, start: Start, seed: int) -> NDArray[np.float64]:
    """At most ``count`` values that stand for the weights with the least squared error k-means finds from its start.

    Args:
        weights: float32 [N], at least one.
        count: how many shared values.
        start, seed: as for :func:`starting_values`.

    Returns:
        Sorted and different, float64 [K], K at most ``count``; the weights' own values where those are no more.
    """
    distinct = np.unique(weights.astype(np.float64))
    if len(distinct) <= count:
        return distinct
    values = np.sort(weights.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = starting_values(values, count, start, seed)
    for _ in range(MOST_ROUNDS):
        cuts = np.concatenate([[0], np.searchsorted(values, (centres[1:] + centres[:-1]) / 2), [len(values)]])
        sizes = np.diff(cuts)
        moved = np.where(sizes, np.diff(sums[cuts]) / np.maximum(sizes, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.unique(centres[sizes > 0])
