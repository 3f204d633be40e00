"""The parameter that an optimizer moves, of a layer that may compute with another one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["trained_weight"]


def trained_weight(model: nn.Module, path: str) -> Tensor:
    """A layer's weight as the optimizer sees it: beneath a rounding (straight-through), where there is one."""
    module = model.get_submodule(path)
    if parametrize.is_parametrized(module, "weight"):
        beneath = module.parametrizations["weight"].original  # type: ignore[index, union-attr]
        assert isinstance(beneath, Tensor)
        return beneath
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
