"""Weights that a network computes from other parameters (torch's parametrizations) become plain ones."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from edgeq.errors import ModelError

__all__ = ["computed_weights", "fold_weights", "require_plain_weights"]


def computed_weights(model: nn.Module) -> list[str]:
    """The layers whose weight is computed from other parameters, by path."""
    return [name for name, layer in model.named_modules() if parametrize.is_parametrized(layer, "weight")]


def require_plain_weights(model: nn.Module, method: str) -> None:
    """Refuse to train computed weights by a method that is to bring them to a grid.

    Raises:
        ModelError: names the first such layer.
    """
    computed = computed_weights(model)
    if method != "post-training" and computed:
        raise ModelError(
            "the weight is computed from other parameters, so nothing can bring it to a grid",
            where=f"layer {computed[0]}",
            got=f"method {method}",
            remedy="add --compress fold-dirac (a folded network is trained on), or use --method post-training",
        )


def fold_weights(model: nn.Module) -> list[str]:
    """Put in place of each computed weight a parameter of its very value; outputs stay as they are.

    A deep copy of the network shares torch's class of such a layer with it, and is of no use afterwards.

    Returns:
        The layers that were changed, by path.
    """
    names = computed_weights(model)
    for name in names:
        parametrize.remove_parametrizations(model.get_submodule(name), "weight", leave_parametrized=True)
    return names
