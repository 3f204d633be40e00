"""Straight-through training with a learned step (LSQ): what the periodic term is compared with.

The forward pass computes with rounded weights; the backward pass takes the rounding for the identity, and the step has
a gradient of its own. Source: Esser et al. 2020, "Learned Step Size Quantization", eq. 1-3 and sections 2.1 and 2.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeq.grid import Grid
from edgeq.rounding.base import Rounding

__all__ = ["LearnedStep"]


class LearnedStep(Rounding):
    """A parametrization that rounds a weight to ``codes * step``.

    Args:
        weight: [O, ...], what the step is first taken from: ``2 mean|w| / sqrt(qmax)``.
        grid: bits and function; the cosine's codes are the odd integers.
        per_channel: one step an output channel instead of one for the tensor.

    Attributes:
        step: float32 [1] or [O], trained with the weights, its gradient scaled by ``1 / sqrt(weights a step * qmax)``.
    """

    def __init__(self, weight: Tensor, grid: Grid, per_channel: bool) -> None:
        super().__init__(grid)
        rows = weight.detach().reshape(weight.shape[0] if per_channel else 1, -1).to(torch.float32)
        self.step = nn.Parameter((2 * rows.abs().mean(dim=1) / math.sqrt(grid.qmax)).clamp_min(self.least))
        self._gradient_share = 1 / math.sqrt(rows.shape[1] * grid.qmax)

    least = torch.finfo(torch.float32).tiny

    def positive_step(self) -> Tensor:
        """The step [1] or [O], whatever sign training gave it."""
        return self.step.abs().clamp_min(self.least)

    def scale(self, weight: Tensor) -> Tensor:
        return self.positive_step() * self.grid.steps_in_max

    def forward(self, weight: Tensor) -> Tensor:
        step = self.positive_step()
        slow = step * self._gradient_share
        step = (slow + (step - slow).detach()).reshape(-1, *[1] * (weight.dim() - 1))
        position = (weight / step).clamp(-self.grid.qmax, self.grid.qmax)
        if self.grid.function == "cosine":
            code = (2 * torch.round((position.detach() - 1) / 2) + 1).clamp(-self.grid.qmax, self.grid.qmax)
        else:
            code = torch.round(position.detach())
        rounded: Tensor = (position + (code - position.detach())) * step
        return rounded
