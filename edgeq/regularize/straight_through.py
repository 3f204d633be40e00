"""Straight-through training with a learned step (LSQ): what the periodic term is compared with.

The forward pass computes with rounded weights; the backward pass takes the rounding for the identity, and the step has
a gradient of its own. Source: Esser et al. 2020, "Learned Step Size Quantization", eq. 1-3 and sections 2.1 and 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeq.errors import ModelError
from edgeq.grid import Grid

__all__ = ["LearnedStep", "learned_step_of", "round_straight_through", "take_rounding_off"]


class LearnedStep(nn.Module):
    """A parametrization that rounds a weight to ``codes * step``.

    Args:
        weight: [O, ...], what the step is first taken from: ``2 mean|w| / sqrt(qmax)``.
        grid: bits and function; the cosine's codes are the odd integers.
        per_channel: one step an output channel instead of one for the tensor.

    Attributes:
        step: float32 [1] or [O], trained with the weights, its gradient scaled by ``1 / sqrt(weights a step * qmax)``.
    """

    def __init__(self, weight: Tensor, grid: Grid, per_channel: bool) -> None:
        super().__init__()
        self.grid = grid
        rows = weight.detach().reshape(weight.shape[0] if per_channel else 1, -1).to(torch.float32)
        self.step = nn.Parameter((2 * rows.abs().mean(dim=1) / math.sqrt(grid.qmax)).clamp_min(self.least))
        self._gradient_share = 1 / math.sqrt(rows.shape[1] * grid.qmax)

    least = torch.finfo(torch.float32).tiny

    def positive_step(self) -> Tensor:
        """The step [1] or [O], whatever sign training gave it."""
        return self.step.abs().clamp_min(self.least)

    def scale(self) -> Tensor:
        """The c of the grid, ``step * steps_in_max``, [1] or [O]."""
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


def round_straight_through(model: nn.Module, layers: Mapping[str, nn.Module], grid: Grid, per_channel: bool) -> None:
    """Let layers compute with rounded weights from now on.

    Args:
        model: the network that the layers are of.
        layers: by path; what is rounded.
        grid, per_channel: as for :class:`LearnedStep`.

    Raises:
        ModelError: two layers share a weight.
    """
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and (first := owners.setdefault(id(weight), name)) != name:
            raise ModelError(
                "layers that share a weight cannot be trained straight-through",
                where=f"layers {first} and {name}",
                remedy="use the periodic method",
            )
    for module in layers.values():
        parametrize.register_parametrization(module, "weight", LearnedStep(_weight(module), grid, per_channel))


def learned_step_of(module: nn.Module) -> LearnedStep | None:
    """What rounds a layer's weight; None where nothing does."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    steps = [item for item in module.parametrizations["weight"] if isinstance(item, LearnedStep)]  # type: ignore[index]
    return steps[0] if steps else None


def take_rounding_off(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Put the rounded weights in place of those that were rounded.

    Returns:
        The c of each layer's grid by path, float32 [1] or [O], for the snap.
    """
    scales: dict[str, NDArray[np.float32]] = {}
    for name, module in list(model.named_modules()):
        rounding = learned_step_of(module)
        if rounding is not None:
            scales[name] = rounding.scale().detach().cpu().numpy().copy()
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return scales


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
