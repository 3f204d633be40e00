"""Layers that learn at a rate of their own, or not at all: ``train.rates``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeq.errors import RecipeError
from edgeq.modes import require_matches

__all__ = ["check_rates", "frozen", "frozen_layers", "rate_of", "set_training"]


def rate_of(parameter: str, rates: Mapping[str, float]) -> float:
    """The factor of a parameter's rate: that of the last pattern that its layer's name matches, or 1."""
    factors = [factor for pattern, factor in rates.items() if fnmatch.fnmatchcase(_layer(parameter), pattern)]
    return factors[-1] if factors else 1.0


def check_rates(model: nn.Module, rates: Mapping[str, float]) -> None:
    """Refuse a pattern that no layer with parameters matches.

    Raises:
        RecipeError: with the nearest name; or nothing would learn.
    """
    if rates and all(not rate_of(name, rates) for name, _ in model.named_parameters()):
        raise RecipeError("every layer is frozen", where="train.rates", remedy="leave one to learn")
    require_matches(rates, (_layer(name) for name, _ in model.named_parameters()), "train.rates")


def frozen_layers(model: nn.Module, rates: Mapping[str, float]) -> list[str]:
    """The layers that have parameters and the rate 0, by name."""
    if 0 not in rates.values():
        return []
    return [
        name
        for name, layer in model.named_modules()
        if next(layer.parameters(recurse=False), None) is not None and not rate_of(f"{name}.", rates)
    ]


@contextmanager
def frozen(model: nn.Module, rates: Mapping[str, float]) -> Iterator[None]:
    """Take gradients from layers of rate 0 meanwhile."""
    modules = dict(model.named_modules())
    held = [p for name in frozen_layers(model, rates) for p in modules[name].parameters() if p.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def set_training(model: nn.Module, rates: Mapping[str, float]) -> None:
    """Training mode, but for batch norms of rate 0: their statistics stay as they are."""
    model.train()
    modules = dict(model.named_modules())
    for name in frozen_layers(model, rates):
        if isinstance(modules[name], _BatchNorm):
            modules[name].eval()


def _layer(parameter: str) -> str:
    """The layer that a parameter is of, also where torch's parametrization keeps it."""
    return (
        parameter.partition(".parametrizations.")[0]
        if ".parametrizations." in parameter
        else parameter.rpartition(".")[0]
    )
