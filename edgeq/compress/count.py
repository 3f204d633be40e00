"""What a network costs by itself: its weights and multiply-adds, and the sizes that images have at each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Place", "count_model", "places"]

KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a network a layer stands.

    Attributes:
        input_size, output_size: of one image before and after it, without channels: (H, W) of a convolution; of a
            linear layer what stands before its features, (1,) or (tokens,).
        calls: how often it is used an image.
    """

    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    calls: int = 1

    @property
    def inputs(self) -> int:
        return math.prod(self.input_size)

    @property
    def outputs(self) -> int:
        """How often the whole weight is used in a call."""
        return math.prod(self.output_size)


@torch.no_grad()
def places(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Place]:
    """Where each convolution and linear layer stands, by path, in the order of their first use; unused ones are not in
    it.

    Args:
        model: on the CPU, in eval mode.
        input_shape: of one image, (C, H, W).
    """
    names: dict[nn.Module, str] = {module: path for path, module in model.named_modules() if isinstance(module, KINDS)}
    found: dict[str, Place] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        sizes = [_size(tensor, module) for tensor in (inputs[0], output)]
        calls = found[names[module]].calls if names[module] in found else 0
        found[names[module]] = Place(sizes[0], sizes[1], calls + 1)

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        model(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def count_model(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Parameters and multiply-adds of one image.

    Args:
        model: on the CPU, in eval mode.
        input_shape: of one image, (C, H, W).

    Returns:
        ``parameters`` (batch norm's running statistics are none) and ``macs`` of convolutions and linear layers.
    """
    macs = 0
    for path, place in places(model, input_shape).items():
        weight = model.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        macs += weight.numel() * place.outputs * place.calls
    return {"parameters": sum(item.numel() for item in model.parameters()), "macs": macs}


def _size(tensor: Tensor, module: nn.Module) -> tuple[int, ...]:
    return tuple(tensor.shape[1:-1]) if isinstance(module, nn.Linear) else tuple(tensor.shape[2:])
