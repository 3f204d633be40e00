"""What most networks are made of: a convolution with its batch norm and activation, and the initial weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Repeat", "conv_norm", "initialise", "round_channels"]


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
    epsilon: float = 1e-5,
) -> nn.Sequential:
    """A convolution without bias that keeps the size (but for its stride), its batch norm, and an activation."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(out_channels, epsilon)]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


def initialise(model: nn.Module) -> None:
    """Kaiming initialisation (He et al. 2015, arXiv:1502.01852) of every convolution and fully-connected layer."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Repeat(nn.Module):
    """All channels so many times over, one block after the other: [N, C, ...] to [N, times C, ...].

    Before a depthwise convolution it stands for several filters a channel, which kernels for one then compute.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x] * self.times, 1)


def round_channels(wanted: float) -> int:
    """The nearest multiple of 8 that is not below 90 % of what is wanted, as the MobileNets have it."""
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
