"""What a network costs by itself: its weights and multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["count_model"]


@torch.no_grad()
def count_model(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Parameters and multiply-adds of one image.

    Args:
        model: on the CPU, in eval mode.
        input_shape: of one image, (C, H, W).

    Returns:
        ``parameters`` (batch norm's running statistics are none) and ``macs`` of convolutions and linear layers.
    """
    macs = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal macs
        weight = module.weight
        assert isinstance(weight, Tensor)
        macs += weight.numel() * (output.shape[2:].numel() if output.dim() > 2 else 1)

    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, kinds)]
    try:
        model(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return {"parameters": sum(item.numel() for item in model.parameters()), "macs": macs}
