"""MobileNet-v2 (Sandler et al. 2018, arXiv:1801.04381, table 2) with random weights: to test estimates on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu6

# Of each stage: expansion, output channels, blocks, stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
CLASSES = 1000


class Layer(nn.Module):
    """A convolution and its batch norm, with ReLU6 or without."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.linear = linear
        nn.init.kaiming_normal_(self.conv.weight)
        if linear:  # or the sums of residuals grow from block to block
            nn.init.constant_(self.bn.weight, 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.bn(self.conv(x))
        return y if self.linear else relu6(y)


class Block(nn.Module):
    """Widen, filter each channel, narrow; added to its input where the shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = in_channels * expansion
        layers = [] if expansion == 1 else [Layer(in_channels, width)]
        layers += [Layer(width, width, 3, stride, groups=width), Layer(width, out_channels, linear=True)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


def mobilenet_v2() -> nn.Module:
    """The network at width 1.0, the same each time."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [Layer(3, 32, 3, 2)]
    channels = 32
    for expansion, out_channels, blocks, stride in STAGES:
        for index in range(blocks):
            layers.append(Block(channels, out_channels, stride if index == 0 else 1, expansion))
            channels = out_channels
    layers += [Layer(channels, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES)]
    return nn.Sequential(*layers).eval()
