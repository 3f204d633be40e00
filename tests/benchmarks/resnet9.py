"""A teacher for CIFAR-10 that needs few epochs: ``--model tests/benchmarks/resnet9.py:half``.

Page 2018, "How to Train Your ResNet": eight convolutions, two residual blocks, pools before the batch norms. With half
the channels an epoch costs what one of ResNet-20 does; it learns more in it.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["half"]

SCALE = 0.25  # of the logits


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv2(self.conv1(x))
        return x + y


class _ResNet9(nn.Module):
    """Images [N, 3, H, W] of 8 pixels or more to logits [N, 10]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            _conv(3, width),
            _conv(width, 2 * width, pool=True),
            _Residual(2 * width),
            _conv(2 * width, 4 * width, pool=True),
            _conv(4 * width, 8 * width, pool=True),
            _Residual(8 * width),
        )
        self.fc = nn.Linear(8 * width, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.stages(x).amax((2, 3)))
        return SCALE * logits


def _conv(in_channels: int, out_channels: int, *, pool: bool = False) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, *([nn.MaxPool2d(2)] if pool else []), nn.BatchNorm2d(out_channels), nn.ReLU())


def half() -> nn.Module:
    """Half of Page's channels: 32, 64, 128, 256; 1.6 million weights."""
    return _ResNet9(32)
