"""The optimizer and its rate: torch's own optimizers, a rate for each layer, and what multiplies them step by step."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from edgeq.train.rates import rate_of
from edgeq.train_recipe import TrainRecipe

__all__ = ["make_optimizer", "make_rate_schedule", "rate_factor"]


def make_optimizer(model: nn.Module, recipe: TrainRecipe) -> Optimizer:
    """The recipe's optimizer over the weights that require grad; those of fewer than two dimensions do not decay.

    The groups of layers that learn at the recipe's own rate are the first ones.
    """
    groups = _groups(model, recipe)
    rate, momentum = recipe.learning_rate_for(), recipe.momentum
    match recipe.optimizer:
        case "sgd":
            nesterov = recipe.nesterov and momentum > 0
            return SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov, fused=True)
        case "adam":
            return Adam(groups, lr=rate, betas=(momentum, 0.999), fused=True)
        case "adamw":
            return AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=True)
        case "rmsprop":
            return RMSprop(groups, lr=rate, momentum=momentum)
        case "adagrad":
            return Adagrad(groups, lr=rate)


def _groups(model: nn.Module, recipe: TrainRecipe) -> list[dict[str, Any]]:
    """Parameters by rate and decay."""
    members: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = rate_of(name, recipe.rates)
        if parameter.requires_grad and factor:
            members.setdefault((factor != 1, factor, parameter.dim() < 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate_for() * factor,
            "weight_decay": 0.0 if flat else recipe.weight_decay,
        }
        for (_, factor, flat), parameters in sorted(members.items(), key=_key)
    ]


def _key(item: tuple[tuple[bool, float, bool], Any]) -> tuple[bool, float, bool]:
    return item[0]


def make_rate_schedule(optimizer: Optimizer, recipe: TrainRecipe, steps: int) -> LambdaLR:
    """The recipe's rate over a whole training of ``steps`` steps."""
    return LambdaLR(optimizer, lambda step: rate_factor(step, steps, recipe))


def rate_factor(step: int, steps: int, recipe: TrainRecipe) -> float:
    """What the peak rate is multiplied by in a step, counted from 0.

    It rises in a line over ``warmup`` of the steps; a cosine has the rest for itself. A function of the step alone, so
    that a resumed training has the very same rates; torch's schedules go from rate to rate.
    """
    rise = round(steps * recipe.warmup_for())
    if step < rise:
        return (step + 1) / rise
    match recipe.rate_schedule:
        case "cosine" | "onecycle":
            return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))) / 2
        case "step":
            return math.pow(recipe.rate_decay_for(), sum(step >= milestone * steps for milestone in recipe.milestones))
        case "exponential":
            return math.pow(recipe.rate_decay_for(), (step - rise) * recipe.epochs / steps)
        case "constant":
            return 1.0
