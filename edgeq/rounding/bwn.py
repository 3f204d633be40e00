"""Binary-weight networks, and the weights of XNOR-Net: the sign times the mean size of an output channel.

Source: Rastegari et al. 2016, arXiv:1603.05279, eq. 6 and section 3.1.
"""

from __future__ import annotations

from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.binary import Binary
from edgeq.rounding.options import RoundingRecipe

__all__ = ["BinaryWeight"]


class BinaryWeight(Binary):
    """``alpha sign(w)`` with ``alpha = mean|w|`` of each output channel, the best scale in least squares.

    The gradient is multiplied by ``1/n + alpha`` where ``|w| <= 1`` and by ``1/n`` elsewhere, n weights a channel.

    Args:
        weight: [O, ...].
        grid: of 1 bit.
        options: none of its own.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(grid)

    def size(self, weight: Tensor) -> Tensor:
        return weight.detach().abs().flatten(1).mean(dim=1)

    def soft(self, weight: Tensor, size: Tensor) -> Tensor:
        return weight / weight[0].numel() + size * weight.clamp(-1, 1)
