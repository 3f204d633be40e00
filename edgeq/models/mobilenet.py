"""MobileNet-v1: Howard et al. 2017, "MobileNets", arXiv:1704.04861, table 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu6

__all__ = ["MobileNetV1"]

# Of each depthwise-separable block: output channels and stride.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
_FIRST = 32


class _Layer(nn.Module):
    """A convolution, its batch norm and ReLU6, as in the networks that the authors released."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return relu6(self.bn(self.conv(x)))


class MobileNetV1(nn.Module):
    """A 3x3 convolution and 13 blocks of a 3x3 depthwise and a 1x1 convolution.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W); H and W of 32 or more, 224 in the paper.

    Takes float [N, C, H, W], gives logits [N, num_classes]. Kaiming initialisation (arXiv:1502.01852).
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        layers = [_Layer(input_shape[0], _FIRST, 3, stride=2)]
        channels = _FIRST
        for out_channels, stride in _BLOCKS:
            layers.append(_Layer(channels, channels, 3, stride, groups=channels))
            layers.append(_Layer(channels, out_channels, 1))
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.features(x).mean((2, 3)))
        return logits
