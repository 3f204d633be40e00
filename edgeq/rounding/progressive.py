"""Bit-progressive training: one set of weights, a learned step and a batch norm of its own for each number of bits.

The epochs are shared out equally. In the first part the network computes with the most bits; in each later one with one
width more, all widths that have begun in every step, their losses averaged. So the few bits start from weights that the
many have made, and the many go on while the few are trained. A width begins with the batch norms of the one before it,
and with the step that its grid has for the weights as they are.

Source: FlexNet, as a lecture shows it: bit by bit, a batch norm a width. The batch norms are those of slimmable
networks (Yu et al. 2019, arXiv:1812.08928, section 3.2), the steps those of LSQ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from edgeq.grid import Grid
from edgeq.recipe import Recipe
from edgeq.rounding.base import Rounding, check_not_shared, roundings, take_rounding_off
from edgeq.rounding.learned_step import LearnedStep
from edgeq.snap import quantized_layers

__all__ = ["NormPerWidth", "StepPerWidth", "Width", "active_widths", "begin_widths", "each_width", "put_widths_on",
           "take_widths", "zero_of_all_widths"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Width:
    """The network at one number of bits.

    Attributes:
        bits: a weight.
        state: a state dict of the plain network: rounded weights, the width's batch norms.
        scales: the c of each layer's grid, float32 [1] or [O].
    """

    bits: int
    state: dict[str, Tensor]
    scales: dict[str, NDArray[np.float32]]


class StepPerWidth(Rounding):
    """A learned step for each of several grids over one weight; one of them is in use.

    Args:
        weight: [O, ...].
        grids: from the most bits to the fewest.
        per_channel: as for :class:`edgeq.rounding.learned_step.LearnedStep`.
    """

    def __init__(self, weight: Tensor, grids: list[Grid], per_channel: bool) -> None:
        super().__init__(grids[-1])
        self.steps = nn.ModuleList(LearnedStep(weight, grid, per_channel) for grid in grids)
        self.per_channel, self.width = per_channel, 0

    @property
    def step(self) -> LearnedStep:
        """The one in use."""
        found = self.steps[self.width]
        assert isinstance(found, LearnedStep)
        return found

    def forward(self, weight: Tensor) -> Tensor:
        rounded: Tensor = self.step(weight)
        return rounded

    def scale(self, weight: Tensor) -> Tensor:
        return self.step.scale(weight)

    @torch.no_grad()
    def begin(self, width: int, weight: Tensor) -> None:
        """Take a width's step from the weight as it is."""
        known = self.steps[width]
        assert isinstance(known, LearnedStep)
        known.step.copy_(LearnedStep(weight, known.grid, self.per_channel).step)


class NormPerWidth(nn.Module):
    """A batch norm for each of several widths; one of them is in use.

    Args:
        norm: what each begins as.
        count: of widths.
    """

    def __init__(self, norm: nn.Module, count: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in range(count))
        self.width = 0

    def forward(self, x: Tensor) -> Tensor:
        normalized: Tensor = self.norms[self.width](x)
        return normalized


def put_widths_on(model: nn.Module, recipe: Recipe) -> None:
    """Give a network a step and a batch norm for each of the recipe's widths; layers of other bits have one step.

    Raises:
        ModelError: two layers share a weight.
    """
    check_not_shared(model)
    widths, function = recipe.rounding.widths, recipe.regularizer.function
    per_channel = recipe.regularizer.scale == "channel"
    for name, layer in quantized_layers(model).items():
        grid, weight = recipe.plan.grid_of(name), _weight(layer)
        if grid is not None:
            grids = [Grid(bits, function) for bits in widths] if grid == recipe.grid else [grid] * len(widths)
            parametrize.register_parametrization(layer, "weight", StepPerWidth(weight, grids, per_channel))
    for path, module in list(model.named_modules()):
        if isinstance(module, _BatchNorm):
            owner, _, name = path.rpartition(".")
            setattr(model.get_submodule(owner), name, NormPerWidth(module, len(widths)))


def active_widths(epoch: int, epochs: int, count: int) -> int:
    """How many widths have begun in an epoch, counted from 0; all of them in the last."""
    return max(1, count - (epochs - 1 - epoch) * count // epochs)


@torch.no_grad()
def begin_widths(model: nn.Module, epoch: int, epochs: int) -> None:
    """Let the widths that begin in an epoch start from the one before them; a network without widths is left."""
    parts = list(_parts(model))
    if not parts:
        return
    count = len(parts[0].norms if isinstance(parts[0], NormPerWidth) else parts[0].steps)
    before = active_widths(epoch - 1, epochs, count) if epoch else 1
    for width in range(before, active_widths(epoch, epochs, count)):
        for part in parts:
            if isinstance(part, NormPerWidth):
                part.norms[width].load_state_dict(part.norms[width - 1].state_dict())
        for _, _, rounding, beneath in roundings(model):
            if isinstance(rounding, StepPerWidth):
                rounding.begin(width, beneath)


def each_width(model: nn.Module, epoch: int, epochs: int) -> Iterator[int]:
    """Set the network to each width that has begun, the fewest bits last; once, where it has none."""
    parts = list(_parts(model))
    if not parts:
        yield 0
        return
    count = len(parts[0].norms if isinstance(parts[0], NormPerWidth) else parts[0].steps)
    for width in range(active_widths(epoch, epochs, count)):
        _use(parts, width)
        yield width


def zero_of_all_widths(model: nn.Module) -> Tensor | float:
    """0, with a gradient of 0 for the parameters of all widths: torch's fused SGD wants one of each from the start."""
    return sum((p.sum() * 0 for part in _parts(model) for p in part.parameters()), 0.0)


def take_widths(model: nn.Module, widths: tuple[int, ...], bits: int) -> tuple[Width, ...]:
    """Make a network plain again, as it is at one number of bits.

    Args:
        model: as :func:`put_widths_on` left it, trained.
        widths: the recipe's.
        bits: that the network is left at.

    Returns:
        All widths.
    """
    parts, found = list(_parts(model)), []
    for index, width in enumerate(widths):
        _use(parts, index)
        own = {f"{name}.weight": _weight(layer).detach().clone() for name, layer, _, _ in roundings(model)}
        for path, module in model.named_modules():
            if isinstance(module, NormPerWidth):
                state = module.norms[index].state_dict()
                own |= {f"{path}.{key}": value.clone() for key, value in state.items()}
        scales = {
            name: rounding.scale(beneath).detach().cpu().float().numpy().copy()
            for name, _, rounding, beneath in roundings(model)
        }
        found.append(Width(width, own, scales))
    _use(parts, widths.index(bits))
    for path, module in list(model.named_modules()):
        if isinstance(module, NormPerWidth):
            owner, _, name = path.rpartition(".")
            setattr(model.get_submodule(owner), name, module.norms[module.width])
    take_rounding_off(model)
    common = {key: value.clone() for key, value in model.state_dict().items()}
    return tuple(Width(width.bits, common | width.state, width.scales) for width in found)


def _parts(model: nn.Module) -> Iterator[NormPerWidth | StepPerWidth]:
    return (module for module in model.modules() if isinstance(module, NormPerWidth | StepPerWidth))


def _use(parts: list[NormPerWidth | StepPerWidth], width: int) -> None:
    for part in parts:
        part.width = width


def _weight(layer: Any) -> Tensor:
    weight: Tensor = layer.weight
    return weight
