"""What a recipe's ``[train]`` asks of a new network: initial weights, dropout, the weights of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parametrize

from edgeq.errors import ModelError
from edgeq.models.weights import load_weights
from edgeq.train_recipe import TrainRecipe

__all__ = ["INITIALIZERS", "initialize", "prepare_network", "set_dropout"]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)

INITIALIZERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "kaiming-normal": nn.init.kaiming_normal_,
        "kaiming-uniform": nn.init.kaiming_uniform_,
        "xavier-normal": nn.init.xavier_normal_,
        "xavier-uniform": nn.init.xavier_uniform_,
        "truncated-normal": nn.init.trunc_normal_,
        "orthogonal": nn.init.orthogonal_,
    }
)
"""``train.initialization`` to torch's function; ``model`` is not here, for it changes nothing."""


def prepare_network(model: nn.Module, recipe: TrainRecipe, *, num_classes: int, seed: int) -> list[str]:
    """Give a new network the recipe's initial weights and dropout.

    Args:
        model: changed in place.
        recipe: its ``initialization``, ``dropout`` and ``init``.
        num_classes: a head for so many keeps its new weights where ``init`` has one for another number.
        seed: the initial weights depend on it alone; the caller's random state is left as it was.

    Returns:
        The names of the tensors that ``init`` did not fill.

    Raises:
        ModelError: the network has no layer that takes dropout or an initialization; or ``init`` does not fit.
        FormatError: ``init`` cannot be read.
    """
    if recipe.initialization != "model":
        initialize(model, recipe.initialization, recipe.initial_std, seed)
    if recipe.dropout is not None:
        set_dropout(model, recipe.dropout)
    return load_weights(model, Path(recipe.init), new_head=num_classes) if recipe.init else []


def initialize(model: nn.Module, name: str, std: float, seed: int) -> None:
    """Draw the weights of every convolution and fully-connected layer anew, and set their biases to zero.

    A weight that is computed from other parameters keeps those as they are.

    Args:
        model: changed in place.
        name: a key of :data:`INITIALIZERS`.
        std: of ``truncated-normal``, cut at two of them.
        seed: of the draw.

    Raises:
        ModelError: there is no such layer.
    """
    function, options = INITIALIZERS[name], dict[str, Any]()
    if name == "truncated-normal":
        options = {"std": std, "a": -2 * std, "b": 2 * std}
    if name.startswith("kaiming"):
        options = {"nonlinearity": "relu"}
    layers = [layer for layer in model.modules() if isinstance(layer, _LAYERS)]
    if not layers:
        raise ModelError("the network has no layer to initialize", where=type(model).__name__, got=name)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for layer in layers:
            if not parametrize.is_parametrized(layer, "weight"):
                function(layer.weight, **options)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def set_dropout(model: nn.Module, share: float) -> None:
    """Let every dropout layer drop this share.

    Raises:
        ModelError: there is none, so that the share would change nothing.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _DropoutNd)]
    if not layers:
        raise ModelError(
            "the network has no dropout layer",
            where=type(model).__name__,
            got=f"train.dropout = {share:g}",
            remedy="put nn.Dropout where it is to be, or leave train.dropout out",
        )
    for layer in layers:
        layer.p = share
