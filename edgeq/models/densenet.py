"""DenseNet-121: Huang et al. 2016, "Densely Connected Convolutional Networks", arXiv:1608.06993, table 1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import relu

from edgeq.models.layers import initialise

__all__ = ["DenseNet"]


class _Layer(nn.Module):
    """Batch norm, ReLU and convolution, 1x1 to four times the growth and then 3x3; put beside what came in."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(relu(self.norm1(x)))
        return torch.cat([x, self.conv2(relu(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    """Dense blocks with transitions that halve channels and size between them (DenseNet-BC). Weights have torchvision's
    names.

    Args:
        blocks: layers of each dense block.
        growth: channels that a layer adds.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; 32 or more with four blocks.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(
        self, blocks: tuple[int, ...], growth: int, num_classes: int, input_shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        channels = 2 * growth
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(input_shape[0], channels, 7, 2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, padding=1),
        )
        for number, count in enumerate(blocks, 1):
            inside = {f"denselayer{i + 1}": _Layer(channels + i * growth, growth) for i in range(count)}
            layers[f"denseblock{number}"] = nn.Sequential(OrderedDict(inside))
            channels += count * growth
            if number < len(blocks):
                layers[f"transition{number}"] = _transition(channels)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(relu(self.features(x)).mean((2, 3)))
        return logits


def _transition(channels: int) -> nn.Sequential:
    layers = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "conv": nn.Conv2d(channels, channels // 2, 1, bias=False),
        "pool": nn.AvgPool2d(2),
    }
    return nn.Sequential(OrderedDict(layers))
