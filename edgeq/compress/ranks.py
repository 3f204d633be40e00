"""How many components each layer keeps: by one share of energy for all layers, given or found for a budget or accuracy.

Energy is the sum of the squared singular values; what is left out of it is the squared error of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from edgeq.compress.replacements import Ranks, Replacement

__all__ = ["Choice", "Pays", "keeping", "largest_share", "smallest_share"]

Choice = dict[str, Ranks]
"""Ranks by path, of the layers that are replaced; the others would not get cheaper."""

Pays = Callable[[Replacement[Any], Ranks], bool]
"""Whether a layer may be replaced by one of such ranks."""

HALVINGS = 20
SLACK = 1e-9  # energies are sums of floats


def keeping(
    replacements: Sequence[Replacement[Any]],
    energy: float,
    multiple: int,
    pays: Pays = lambda item, ranks: True,
) -> Choice:
    """The smallest ranks that keep a share of the energy, where they make the layer cheaper.

    Args:
        replacements: one a layer.
        energy: 0 (one component) to 1 (all).
        multiple: ranks are rounded up to it, as far as there are components.
        pays: of a layer and its ranks, whether it may be replaced.
    """
    found = {}
    for item in replacements:
        ranks = tuple(_rank(values, energy, multiple) for values in item.spectra)
        if item.macs(ranks) < item.macs_now and pays(item, ranks):
            found[item.path] = ranks
    return found


def largest_share(cost: Callable[[float], float], budget: float) -> float | None:
    """The largest share of energy whose cost is within a budget, by halving; None where that of share 0 is not.

    Args:
        cost: of a share; it rises, but for steps where a factor falls away.
    """
    if cost(1.0) <= budget:
        return 1.0
    if cost(0.0) > budget:
        return None
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return low


def smallest_share(fits: Callable[[float], bool], halvings: int) -> float:
    """The smallest share of energy that fits, by halving; 1, which leaves all as it is, is known to."""
    low, high = 0.0, 1.0
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _rank(values: torch.Tensor, energy: float, multiple: int) -> int:
    squares = values.square()
    total = float(squares.sum())
    kept = squares.cumsum(0) / total if total else torch.ones_like(squares)
    needed = int((kept < energy - SLACK).sum()) + 1
    return min(len(values), math.ceil(needed / multiple) * multiple)
