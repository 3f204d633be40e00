"""Ternary weight networks: 0 and plus or minus one size a layer.

Source: Li et al. 2016, arXiv:1605.04711, eq. 3-6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.base import Rounding, passing
from edgeq.rounding.options import RoundingRecipe

__all__ = ["THRESHOLD", "TernaryWeight"]

THRESHOLD = 0.7


class TernaryWeight(Rounding):
    """0 where ``|w| <= delta``, else ``alpha sign(w)``: ``delta = 0.7 mean|w|``, ``alpha`` the mean of what is beyond.

    The gradient is passed on as it is.

    Args:
        weight: [O, ...].
        grid: of 2 bits.
        options: ``threshold``, in place of 0.7.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(grid)
        self.threshold = THRESHOLD if options.threshold is None else options.threshold

    def kept(self, weight: Tensor) -> Tensor:
        """1 where a weight is not rounded to 0."""
        size = weight.detach().abs()
        return (size > self.threshold * size.mean()).to(weight.dtype)

    def scale(self, weight: Tensor) -> Tensor:
        kept = self.kept(weight)
        total: Tensor = (weight.detach().abs() * kept).sum() / kept.sum().clamp_min(1)
        return total.reshape(1)

    def forward(self, weight: Tensor) -> Tensor:
        return passing(self.scale(weight) * torch.sign(weight) * self.kept(weight), weight)
