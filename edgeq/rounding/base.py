"""What rounds a layer's weight in the forward pass: the base of all methods, a parametrization that is taken off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeq.errors import ModelError
from edgeq.grid import Grid

__all__ = ["Rounding", "along_channels", "passing", "rounding_of", "roundings", "take_rounding_off"]


class Rounding(nn.Module):
    """A parametrization that rounds a weight [O, ...] to ``codes * step`` of a grid.

    Args:
        grid: of the codes.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight, with the method's gradient."""
        raise NotImplementedError

    def scale(self, weight: Tensor) -> Tensor:
        """The c of the grid that :meth:`forward` rounds to, ``step * grid.steps_in_max``: float32 [1] or [O]."""
        raise NotImplementedError

    @torch.no_grad()
    def project(self, weight: Tensor) -> None:
        """Bring the weight beneath back to where the method keeps it, in place; after each optimizer step."""


def passing(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of ``hard``, bit for bit, with the gradient of ``soft``."""
    return hard.detach() + (soft - soft.detach())


def along_channels(scale: Tensor, weight: Tensor) -> Tensor:
    """A scale [1] or [O] shaped to multiply a weight [O, ...]."""
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def rounding_of(module: nn.Module) -> Rounding | None:
    """What rounds a layer's weight; None where nothing does."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    found = [item for item in module.parametrizations["weight"] if isinstance(item, Rounding)]  # type: ignore[index]
    return found[0] if found else None


def roundings(model: nn.Module) -> Iterator[tuple[str, nn.Module, Rounding, Tensor]]:
    """Every layer that is rounded: its path, itself, what rounds it, and the weight beneath."""
    for name, module in list(model.named_modules()):
        rounding = rounding_of(module)
        if rounding is not None:
            yield name, module, rounding, module.parametrizations["weight"].original


def check_not_shared(model: nn.Module) -> None:
    """Refuse weights that several layers share.

    Raises:
        ModelError: names the first two.
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


def take_rounding_off(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Put the rounded weights in place of those that were rounded, as in evaluation.

    Returns:
        The c of each layer's grid by path, float32 [1] or [O], for the snap.
    """
    scales: dict[str, NDArray[np.float32]] = {}
    for name, module, rounding, beneath in list(roundings(model)):
        rounding.eval()
        scales[name] = rounding.scale(beneath).detach().cpu().to(torch.float32).numpy().copy()
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return scales
