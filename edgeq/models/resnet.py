"""The residual networks for CIFAR: He et al. 2015, "Deep Residual Learning", arXiv:1512.03385, section 4.2."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

__all__ = ["ResNet"]

_WIDTHS = (16, 32, 64)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes (option B)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A network of 6n + 2 layers with weights: three stages of n blocks of 16, 32 and 64 channels.

    Args:
        blocks_per_stage: n; 3 is ResNet-20.
        num_classes: length of the output.
        input_shape: (C, H, W); any H and W, as the last step averages over what is left of them.

    Takes float [N, C, H, W], gives logits [N, num_classes]. Kaiming initialisation (arXiv:1502.01852).
    """

    def __init__(self, blocks_per_stage: int, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0], blocks_per_stage, stride=1)
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1], blocks_per_stage, stride=2)
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2], blocks_per_stage, stride=2)
        self.fc = nn.Linear(_WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, 1) for _ in range(blocks - 1)))
