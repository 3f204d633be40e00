"""The residual networks for ImageNet: He et al. 2015, "Deep Residual Learning", arXiv:1512.03385, table 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from edgeq.models.layers import initialise

__all__ = ["BasicBlock", "Bottleneck", "ImageNetResNet"]

_WIDTHS = (64, 128, 256, 512)


class _Block(nn.Module):
    """What both kinds of block share: the shortcut, a 1x1 convolution where the shape changes (option B)."""

    expansion: int

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(_Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return relu(y + self.shortcut(x))


class Bottleneck(_Block):
    """A 1x1, a 3x3 and a 1x1 convolution; the stride is the 3x3's, as in all later work."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, 4 * width, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = relu(self.bn1(self.conv1(x)))
        y = relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return relu(y + self.shortcut(x))


class ImageNetResNet(nn.Module):
    """A 7x7 convolution and a max pool, both of stride 2, and stages of residual blocks. Weights have torchvision's
    names.

    Args:
        block: BasicBlock (18 and 34 layers) or Bottleneck (50).
        blocks: of each stage, at most four of them.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; any size.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: tuple[int, ...],
        num_classes: int,
        input_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        self.stages: list[str] = []
        for number, count in enumerate(blocks):
            stage = []
            for index in range(count):
                stage.append(block(channels, _WIDTHS[number], 2 if number and not index else 1))
                channels = block.expansion * _WIDTHS[number]
            self.stages.append(f"layer{number + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*stage))
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits
