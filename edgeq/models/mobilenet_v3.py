"""MobileNet-v3: Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, tables 1 and 2."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from edgeq.models.layers import conv_norm as layer
from edgeq.models.layers import initialise, round_channels

__all__ = ["LARGE", "SMALL", "MobileNetV3", "Row"]


class Row(NamedTuple):
    """A row of the paper's tables: kernel, expansion size, output channels, squeeze-and-excite, activation, stride."""

    kernel: int
    width: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)


conv_norm = partial(layer, epsilon=0.001)  # as the authors released it


class _SqueezeExcite(nn.Module):
    """Scale each channel by what two 1x1 convolutions make of the means (Hu et al. 2017, arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        between = round_channels(channels / 4)
        self.fc1 = nn.Conv2d(channels, between, 1)
        self.fc2 = nn.Conv2d(between, channels, 1)
        self.activation, self.gate = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.activation(self.fc1(x.mean((2, 3), keepdim=True)))
        gated: torch.Tensor = x * self.gate(self.fc2(scale))
        return gated


class _Block(nn.Module):
    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        kind: type[nn.Module] = nn.Hardswish if row.hard_swish else nn.ReLU
        self.block = nn.Sequential(
            *([] if row.width == in_channels else [conv_norm(in_channels, row.width, activation=kind)]),
            conv_norm(row.width, row.width, row.kernel, row.stride, groups=row.width, activation=kind),
            *([_SqueezeExcite(row.width)] if row.squeeze else []),
            conv_norm(row.width, row.channels, activation=None),
        )
        self.residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """A 3x3 convolution, the table's blocks, a 1x1 convolution and two dense layers. Weights have torchvision's names.

    Args:
        rows: LARGE or SMALL.
        hidden: units of the first dense layer: 1280 or 1024.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; any size.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(self, rows: tuple[Row, ...], hidden: int, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(input_shape[0], 16, 3, 2, activation=nn.Hardswish)]
        channels = 16
        for row in rows:
            layers.append(_Block(channels, row))
            channels = row.channels
        layers.append(conv_norm(channels, 6 * channels, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        dense = (nn.Linear(6 * channels, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, num_classes))
        self.classifier = nn.Sequential(*dense)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits
