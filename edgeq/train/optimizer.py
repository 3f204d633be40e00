"""The optimizer and its rate: SGD with Nesterov momentum or AdamW, cosine or one-cycle by step."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from edgeq.recipe import TrainRecipe

__all__ = ["make_optimizer", "make_rate_schedule", "rate_factor"]


def make_optimizer(model: nn.Module, recipe: TrainRecipe) -> Optimizer:
    """The recipe's optimizer over the weights that require grad; those of fewer than two dimensions do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)
    return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def make_rate_schedule(optimizer: Optimizer, recipe: TrainRecipe, steps: int) -> LambdaLR:
    """The recipe's rate over a whole training of ``steps`` steps."""
    return LambdaLR(optimizer, lambda step: rate_factor(step, steps, recipe))


def rate_factor(step: int, steps: int, recipe: TrainRecipe) -> float:
    """What the peak rate is multiplied by in a step, counted from 0; 0 after the last.

    ``cosine`` falls from 1 to 0. ``onecycle`` rises in a line over ``warmup`` of the steps, then falls as a cosine.
    """
    rise = round(steps * recipe.warmup) if recipe.rate_schedule == "onecycle" else 0
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))) / 2
