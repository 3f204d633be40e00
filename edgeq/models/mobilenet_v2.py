"""MobileNet-v2: Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381, table 2."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from edgeq.models.layers import conv_norm, initialise

__all__ = ["InvertedResidual", "InvertedResidualNet", "MobileNetV2"]

# Of each stage: expansion, output channels, blocks, stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow without activation; added to its input where the shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel: int = 3) -> None:
        super().__init__()
        width = in_channels * expansion
        self.conv = nn.Sequential(
            *([] if expansion == 1 else [conv_norm(in_channels, width, activation=nn.ReLU6)]),
            conv_norm(width, width, kernel, stride, groups=width, activation=nn.ReLU6),
            *conv_norm(width, out_channels, activation=None),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


class InvertedResidualNet(nn.Module):
    """A 3x3 convolution, stages of inverted residuals, a 1x1 convolution. Weights have torchvision's names.

    Args:
        num_classes: length of the output.
        channels: of the input.
        stages: (expansion, kernel, output channels, blocks, stride of the first) each.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(self, num_classes: int, channels: int, stages: Iterable[tuple[int, int, int, int, int]]) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(channels, 32, 3, 2, activation=nn.ReLU6)]
        channels = 32
        for expansion, kernel, out_channels, blocks, stride in stages:
            for index in range(blocks):
                layers.append(InvertedResidual(channels, out_channels, expansion, 1 if index else stride, kernel))
                channels = out_channels
        layers.append(conv_norm(channels, 1280, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


class MobileNetV2(InvertedResidualNet):
    """Inverted residuals of 3x3 kernels, width 1.0.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; any size.
        stages: (expansion, output channels, blocks, stride of the first) each.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        stages: tuple[tuple[int, int, int, int], ...] = STAGES,
    ) -> None:
        super().__init__(num_classes, input_shape[0], [(stage[0], 3, *stage[1:]) for stage in stages])
