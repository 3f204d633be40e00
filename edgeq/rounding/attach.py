"""Put a recipe's method on a network: which layers are the first and the last, what is rounded, what reads signs."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgeq.errors import ModelError
from edgeq.grid import Grid
from edgeq.models.structure import replace
from edgeq.recipe import Recipe
from edgeq.rounding.activations import Levels, SignAboutMean
from edgeq.rounding.base import Rounding, check_not_shared, roundings
from edgeq.rounding.learned_step import LearnedStep
from edgeq.rounding.table import METHODS
from edgeq.snap import quantized_layers

__all__ = ["attach_activations", "project", "put_rounding_on", "with_ends"]


def with_ends(recipe: Recipe, model: nn.Module, input_shape: tuple[int, ...]) -> Recipe:
    """The recipe with the bits of the first and the last layer among its ``layers``, before the user's own patterns.

    Args:
        recipe: whose ``rounding.ends`` decides.
        model: run once, to see in which order its layers compute.
        input_shape: of one sample.
    """
    bits = recipe.ends
    if not bits:
        return recipe
    order = _order(model, input_shape)
    given = {name: bits for name in (order[0], order[-1]) if name not in recipe.layers}
    return dataclasses.replace(recipe, layers={**given, **recipe.layers})


def attach_activations(model: nn.Module, recipe: Recipe, input_shape: tuple[int, ...]) -> None:
    """Let the layers of a method that rounds activations read signs or levels; the first layer reads the input as it
    is, and layers of other bits than the method's read what they did.

    Raises:
        ModelError: no layer is left that could.
    """
    row = METHODS.get(recipe.method)
    bits = recipe.activation_bits
    if row is None or not bits:
        return
    first = _order(model, input_shape)[0]
    chosen = {
        name: layer
        for name, layer in quantized_layers(model).items()
        if name != first and recipe.plan.grid_of(name) == recipe.grid
    }
    if not chosen:
        raise ModelError(
            "the network has no layer between its first and its last whose input could be rounded",
            where=f"--method {row.name}",
            remedy="set rounding.ends = 0, or take a deeper network",
        )
    for name, layer in chosen.items():
        activation = Levels(bits) if row.activations == "levels" else _signs(name, layer, recipe.rounding.input_scale)
        try:
            replace(model, f"{name}.activation", [activation])
        except ValueError as error:
            raise ModelError("cannot be rounded", where=f"layer {name}", got=error, remedy="rename it") from error


def _signs(name: str, layer: Any, scales: bool) -> SignAboutMean:
    if not isinstance(layer, nn.Conv2d):
        return SignAboutMean(layer.in_features, images=False, scales=scales)
    if scales:
        _check_scalable(name, layer)
    return SignAboutMean(layer.in_channels, images=True, scales=scales)


def _check_scalable(name: str, layer: nn.Conv2d) -> None:
    """Raise unless the mean over what a convolution sees is an average pool of one channel."""
    padding = layer.padding
    pools = not isinstance(padding, str) and all(
        2 * pad <= k for pad, k in zip(padding, layer.kernel_size, strict=True)
    )
    if layer.groups > 1 or max(layer.dilation) > 1 or not pools:
        raise ModelError(
            "a mean over what this layer sees is no average pool",
            where=f"layer {name}",
            got=f"{layer.groups} groups, dilation {layer.dilation}, padding {padding}",
            wanted="one group, dilation 1 and padding of half the kernel at most",
            remedy="leave rounding.input_scale out",
        )


def put_rounding_on(model: nn.Module, recipe: Recipe) -> None:
    """Let layers compute with rounded weights from now on: those on the recipe's grid by its method, layers of other
    bits with a learned step.

    Raises:
        ModelError: two layers share a weight.
    """
    check_not_shared(model)
    for name, layer in quantized_layers(model).items():
        grid = recipe.plan.grid_of(name)
        if grid is not None:
            weight: Any = layer.weight
            rounding = _rounding(weight, grid, recipe)
            rounding.project(weight.data)
            parametrize.register_parametrization(layer, "weight", rounding)


def project(model: nn.Module) -> None:
    """Bring all weights beneath back to where their methods keep them; after each optimizer step."""
    for _, _, rounding, beneath in roundings(model):
        rounding.project(beneath)


def _rounding(weight: torch.Tensor, grid: Grid, recipe: Recipe) -> Rounding:
    row = METHODS.get(recipe.method)
    if row is None or grid != recipe.grid:
        return LearnedStep(weight, grid, recipe.regularizer.scale == "channel")
    module, name = row.rounding.split(":")
    made: Rounding = getattr(importlib.import_module(f"edgeq.rounding.{module}"), name)(weight, grid, recipe.rounding)
    return made


def _order(model: nn.Module, input_shape: tuple[int, ...]) -> list[str]:
    """The layers with weights in the order in which they compute."""
    layers = quantized_layers(model)
    seen: dict[str, None] = {}

    def note(name: str) -> Any:
        return lambda *_: seen.setdefault(name)

    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, *input_shape))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return list(seen) or list(layers)
