"""Wide residual networks for CIFAR: Zagoruyko and Komodakis 2016, arXiv:1605.07146, table 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from edgeq.models.layers import initialise

__all__ = ["WideResNet"]

_WIDTHS = (16, 32, 64)


_EXPANSION = 4


class _Block(nn.Module):
    """Batch norm, ReLU, 3x3 convolution, twice (pre-activation, arXiv:1603.05027), with dropout between them; a 1x1
    convolution on the shortcut where the shape changes, which then starts after the first ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(0.0)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = relu(self.bn1(x))
        y: torch.Tensor = self.conv2(self.dropout(relu(self.bn2(self.conv1(first)))))
        return y + (x if self.shortcut is None else self.shortcut(first))


class _Bottleneck(nn.Module):
    """The same with a 1x1, a 3x3 and a 1x1 convolution to four times the channels."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(0.0)
        self.conv3 = nn.Conv2d(channels, _EXPANSION * channels, 1, bias=False)
        self.shortcut = _shortcut(in_channels, _EXPANSION * channels, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = relu(self.bn1(x))
        middle = relu(self.bn3(self.conv2(relu(self.bn2(self.conv1(first))))))
        y: torch.Tensor = self.conv3(self.dropout(middle))
        return y + (x if self.shortcut is None else self.shortcut(first))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    same = stride == 1 and in_channels == out_channels
    return None if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class WideResNet(nn.Module):
    """WRN-depth-widen: three stages of (depth - 4) / 6 blocks of 16, 32 and 64 times ``widen`` channels.

    Args:
        depth: 6n + 4, the layers with weights where a block has two of them.
        widen: the paper's k.
        num_classes: length of the output.
        input_shape: (C, H, W), 32x32 in the paper; any size.
        bottleneck: blocks of three convolutions that end in four times the channels.

    Takes float [N, C, H, W], gives logits [N, num_classes]. Nothing is dropped unless ``train.dropout`` says so; the
    paper takes 0.3.
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        num_classes: int,
        input_shape: tuple[int, int, int],
        *,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        channels = _WIDTHS[0]
        blocks: list[nn.Module] = []
        for number, width in enumerate(_WIDTHS):
            for index in range((depth - 4) // 6):
                stride = 2 if number and not index else 1
                block = _Bottleneck if bottleneck else _Block
                blocks.append(block(channels, width * widen, stride))
                channels = width * widen * (_EXPANSION if bottleneck else 1)
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = relu(self.bn(self.blocks(self.conv1(x))))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits
