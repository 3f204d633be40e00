"""What the methods of one bit share: a weight is its sign times a size that each method has its own formula for."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.base import Rounding, along_channels, passing

__all__ = ["Binary", "glorot_size", "signs"]


def signs(values: Tensor) -> Tensor:
    """1 where a value is 0 or more, else -1."""
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


def glorot_size(weight: Tensor) -> float:
    """``sqrt(1.5 / (inputs + outputs))`` of a layer [O, I, ...], kernel included: the coefficient of Glorot and Bengio
    2010 as BinaryConnect's authors take it for the size H of a binary weight."""
    outputs, inputs = weight.shape[:2]
    return float((1.5 / ((inputs + outputs) * weight[0, 0].numel())) ** 0.5)


class Binary(Rounding):
    """A weight is ``sign(w) * size``; on the 1-bit cosine grid, whose codes are -1 and 1.

    Args:
        grid: of 1 bit.
    """

    def size(self, weight: Tensor) -> Tensor:
        """The size of a rounded weight, [1] or [O], without a gradient."""
        raise NotImplementedError

    def soft(self, weight: Tensor, size: Tensor) -> Tensor:
        """What the gradient is that of; ``size`` broadcasts over the weight."""
        raise NotImplementedError

    def signs(self, weight: Tensor) -> Tensor:
        """-1 or 1, an element."""
        return signs(weight)

    def forward(self, weight: Tensor) -> Tensor:
        size = along_channels(self.size(weight), weight)
        return passing(self.signs(weight) * size, self.soft(weight, size))

    def scale(self, weight: Tensor) -> Tensor:
        return self.size(weight) * self.grid.steps_in_max


class FixedSize(Binary):
    """Weights of +-H, kept within [-H, H]: BinaryConnect's, and the BNN's.

    The papers have H = 1 and, where a batch norm follows each layer, a learning rate that is multiplied by 1/H'^2 for
    the H' of :func:`glorot_size`. With H = H' and the plain rate such a network takes the same steps, and one without
    batch norms trains, too.

    Args:
        weight: [O, I, ...], whose shape gives H.
        grid: of 1 bit.
    """

    def __init__(self, weight: Tensor, grid: Grid) -> None:
        super().__init__(grid)
        self.register_buffer("bound", torch.full((1,), glorot_size(weight)), persistent=False)
        self.bound: Tensor

    def size(self, weight: Tensor) -> Tensor:
        return self.bound

    @torch.no_grad()
    def project(self, weight: Tensor) -> None:
        bound = float(self.bound)
        weight.clamp_(-bound, bound)
