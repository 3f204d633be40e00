"""BinaryConnect: binary weights in the forward and backward pass, real ones beneath that gradients add up in.

Source: Courbariaux et al. 2015, arXiv:1511.00363, eq. 1-3 and algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.binary import FixedSize, signs
from edgeq.rounding.options import RoundingRecipe

__all__ = ["BinaryConnect"]


class BinaryConnect(FixedSize):
    """``H sign(w)``; stochastic, while it trains, +H with probability ``clip((w/H + 1) / 2, 0, 1)``.

    The gradient by the binary weight is taken for that by the weight beneath. In evaluation, and so in the artifact,
    the sign decides in both variants.

    Args:
        weight: [O, I, ...].
        grid: of 1 bit.
        options: ``stochastic``.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(weight, grid)
        self.stochastic = options.stochastic

    def signs(self, weight: Tensor) -> Tensor:
        if not (self.stochastic and self.training):
            return signs(weight)
        chance = ((weight.detach() / self.bound + 1) / 2).clamp(0, 1)
        return 2 * torch.bernoulli(chance) - 1

    def soft(self, weight: Tensor, size: Tensor) -> Tensor:
        return weight
