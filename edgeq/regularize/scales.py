"""The scales c of a network's weights: frozen where they are, clipped, or learned from the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from edgeq.errors import ModelError, RecipeError
from edgeq.grid import Grid, power_of_two_steps
from edgeq.regularize.weights import Weight

__all__ = ["bring_back", "check_scales", "hold", "learn"]

MOST_CHANGE: Final = 0.1  # of a scale in one step


def hold(
    weights: Sequence[Weight],
    per_channel: bool,
    clip_of: Callable[[str], float | None],
    grid_of: Callable[[str], Grid | None],
) -> None:
    """Freeze every c at ``max|w|``, or at ``clip * mean|w|`` where that is less; with a grid at the c near that whose
    step is a power of two.

    Args:
        weights: of the network.
        per_channel: one c an output channel.
        clip_of, grid_of: by layer, the clip and the grid; None for none.

    Raises:
        RecipeError: a clip is not above 0.
    """
    for weight in weights:
        clip, grid = clip_of(weight.layer), grid_of(weight.layer)
        if clip is not None and not 0 < clip < math.inf:
            raise RecipeError("out of range", where="regularizer.clip", got=clip, wanted="above 0")
        weight.held = None
        peak = weight.peak(per_channel)
        weight.held = peak if clip is None else torch.minimum(peak, clip * weight.mean(per_channel))
        if grid is not None:
            weight.held = _power_of_two(weight.parameter.detach(), weight.held, grid)


def _power_of_two(values: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """The c, shaped like the one given, whose step is a power of two."""
    rows = values.detach().float().cpu().contiguous().numpy().reshape(max(1, scale.numel()), -1)
    step = scale.float().cpu().numpy().reshape(-1) / np.float32(grid.steps_in_max)
    found = power_of_two_steps(rows, step.astype(np.float32), grid) * np.float32(grid.steps_in_max)
    return torch.from_numpy(found).to(scale).reshape(scale.shape)


def bring_back(weights: Sequence[Weight], offset: float) -> None:
    """Move weights beyond the outermost point of a held grid, ``offset`` steps below c, back to it."""
    for weight in weights:
        if weight.held is not None and weight.parameter.requires_grad:
            limit = weight.held * (1 - offset / weight.frequency)
            weight.parameter.clamp_(-limit, limit)


def learn(weights: Sequence[Weight], offset: float, rate: float) -> None:
    """One step of gradient descent on every held c; weights on the grid go with it.

    A weight on its point is ``w = c k / f``, so ``dw/dc = w / c``. One that is a rounded copy of ``u`` beneath it is
    ``u`` plus a rounding error that grows with c: ``dw/dc = (w - u) / c``, but beyond the end of the range ``w / c``,
    and there ``dw/du = 0``: such a ``u`` gets no gradient. The step ``c / f`` is what moves by the rate, and its
    gradient is scaled so that it moves by as large a part of itself as weights do.

    Args:
        weights: with their gradients, before the optimizer's step.
        offset: steps from c to the outermost point.
        rate: the learning rate, divided by 1 - momentum.

    Source of the gradients and the scaling: Esser et al. 2020, "Learned Step Size Quantization", eq. 3, section 2.2.
    """
    for weight in weights:
        c, parameter = weight.held, weight.parameter
        if c is None or parameter.grad is None or not parameter.requires_grad:
            continue
        per_channel, frequency = c.dim() > 0, weight.frequency
        share = 1 - offset / frequency
        if weight.beneath is None:
            slope = weight.total(parameter.grad * parameter, per_channel)
        else:
            within = weight.beneath.abs() <= c * share
            moved = torch.where(within, parameter - weight.beneath, parameter)
            slope = weight.total(parameter.grad * moved, per_channel)
            parameter.grad.mul_(within)
        count = parameter.numel() / max(1, c.numel())
        alive = c >= torch.finfo(torch.float32).tiny
        step = torch.where(alive, c / frequency, 1.0)
        change = -rate / math.sqrt(count * frequency) * slope / step
        wanted = torch.clamp((step + change) * frequency, c * (1 - MOST_CHANGE), c * (1 + MOST_CHANGE))
        found = torch.where(alive & torch.isfinite(wanted), wanted, c)
        if weight.beneath is None:
            parameter.mul_(torch.where(alive, found / torch.where(alive, c, 1.0), 1.0))
        weight.held = found


def check_scales(weights: Sequence[Weight], found: Mapping[str, Tensor], per_channel: bool) -> None:
    """Raise unless there is one scale a weight, each of its shape.

    Raises:
        ModelError: they are another network's.
    """
    for weight in weights:
        scale, shape = found.get(weight.layer), weight.peak(per_channel).shape
        if scale is None or scale.shape != shape:
            got = None if scale is None else list(scale.shape)
            where = f"layer {weight.layer}"
            raise ModelError("the held scales are another network's", where=where, got=got, wanted=list(shape))
