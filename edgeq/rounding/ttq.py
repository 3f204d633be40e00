"""Trained ternary quantization: 0, and a size for each sign that is learned.

Source: Zhu et al. 2017, arXiv:1612.01064, eq. 6-9.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeq.grid import Grid
from edgeq.rounding.base import Rounding, passing
from edgeq.rounding.options import RoundingRecipe

__all__ = ["THRESHOLD", "TrainedTernary"]

THRESHOLD = 0.05
LEAST = torch.finfo(torch.float32).tiny


class TrainedTernary(Rounding):
    """Wp above ``delta = 0.05 max|w|``, -Wn below ``-delta``, 0 between.

    A file has one scale a layer, so the larger size is the grid's outermost code and the smaller one lies on the grid
    already while it trains: nothing is rounded later. At 8 bits it is off by 1/254 of the larger size at most.

    Args:
        weight: [O, ...], from which the sizes are first taken: the means of what lies beyond delta.
        grid: the sine's; the more bits, the nearer both sizes are to what they want to be.
        options: ``threshold``, in place of 0.05.

    Attributes:
        positive, negative: Wp and Wn, float32 [1]. Their gradients are the sums of the weight's over those that are Wp,
            and of its negative over those that are -Wn.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(grid)
        self.threshold = THRESHOLD if options.threshold is None else options.threshold
        above, below = self._parts(weight.detach())
        size = weight.detach().abs().to(torch.float32)
        self.positive = nn.Parameter(_mean(size, above))
        self.negative = nn.Parameter(_mean(size, below))

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Wp and Wn on the grid, [1] each, positive whatever training made of them; gradients pass the rounding."""
        positive, negative = (item.abs().clamp_min(LEAST) for item in (self.positive, self.negative))
        step = self._step(torch.maximum(positive, negative).detach())
        rounded = [
            passing(torch.round(item.detach() / step).clamp(1, self.grid.qmax) * step, item)
            for item in (positive, negative)
        ]
        return rounded[0], rounded[1]

    def forward(self, weight: Tensor) -> Tensor:
        above, below = self._parts(weight.detach())
        positive, negative = self.sizes()
        gain = 1 + above * (positive.detach() - 1) + below * (negative.detach() - 1)
        ternary = above * positive - below * negative
        return ternary + (gain * weight - (gain * weight).detach())

    def scale(self, weight: Tensor) -> Tensor:
        return torch.maximum(self.positive.abs(), self.negative.abs()).clamp_min(LEAST).detach()

    def _step(self, scale: Tensor) -> Tensor:
        """As the snap takes it from the scale, in float64."""
        return (scale.double() / self.grid.steps_in_max).float()

    def _parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        delta = self.threshold * weight.abs().max()
        return (weight > delta).to(weight.dtype), (weight < -delta).to(weight.dtype)


def _mean(size: Tensor, part: Tensor) -> Tensor:
    total = (size * part).sum() / part.sum().clamp_min(1)
    return torch.where(total > 0, total, size.mean().clamp_min(LEAST)).reshape(1)
