"""Binarized neural networks: binary weights, and layers that read signs.

Source: Hubara et al. 2016, arXiv:1602.02830, eq. 1 and 4, algorithm 1.
"""

from __future__ import annotations

from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.binary import FixedSize
from edgeq.rounding.options import RoundingRecipe

__all__ = ["BinarizedWeight"]


class BinarizedWeight(FixedSize):
    """``H sign(w)``; the gradient passes where ``|w| <= H``.

    Args:
        weight: [O, I, ...].
        grid: of 1 bit.
        options: none of its own.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(weight, grid)

    def soft(self, weight: Tensor, size: Tensor) -> Tensor:
        bound = float(self.bound)
        return weight.clamp(-bound, bound)
