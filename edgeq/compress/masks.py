"""Masks over weights: which layers can have one, and the constraint that keeps it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from edgeq.compress.method import Constraint
from edgeq.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["mask_constraint", "prunable", "share_of_zeros"]


def prunable(model: nn.Module, method: str, skip: Iterable[str] = ()) -> Iterator[tuple[str, Tensor]]:
    """The weights of each Conv2d and Linear by path, detached, without those that a pattern names.

    Raises:
        ModelError: a pattern names no layer, or nothing is left.
    """
    from edgeq.snap import quantized_layers

    layers = quantized_layers(model)
    patterns = tuple(skip)
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            raise ModelError("no layer has this name", where=f"compress {method}: skip", got=pattern,
                             remedy=f"layers are {', '.join(list(layers)[:8])}")  # fmt: skip
    chosen = [path for path in layers if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)]
    if not chosen:
        raise ModelError("no layer is left to compress", where=f"compress {method}", remedy="skip fewer layers")
    for path in chosen:
        weight = layers[path].weight
        yield path, weight.detach()  # type: ignore[operator]


def mask_constraint(model: nn.Module, masks: Mapping[str, Tensor]) -> Constraint:
    """Zero what the masks leave out, now and after each later step.

    Args:
        model: the network, also the one that is trained later: weights are found by path at each call.
        masks: bool, of the weight's shape, by path; False is zero.
    """
    import torch

    from edgeq.compress.weights import trained_weight

    kept = dict(masks)

    @torch.no_grad()
    def project() -> None:
        for path, mask in kept.items():
            weight = trained_weight(model, path)
            if mask.device != weight.device:
                mask = kept[path] = mask.to(weight.device)
            weight.mul_(mask)

    project()
    return Constraint(project)


def share_of_zeros(model: nn.Module) -> float:
    """Of all convolution and linear weights."""
    from edgeq.snap import quantized_layers

    weights = [layer.weight.detach() for layer in quantized_layers(model).values()]  # type: ignore[operator]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
