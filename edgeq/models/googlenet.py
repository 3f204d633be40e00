"""GoogLeNet: Szegedy et al. 2014, "Going Deeper with Convolutions", arXiv:1409.4842, table 1, with batch norm
(arXiv:1502.03167) and without the auxiliary classifiers, which serve training only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import relu

from edgeq.models.layers import initialise

__all__ = ["INCEPTIONS", "GoogLeNet", "Inception"]


class Inception(NamedTuple):
    """A row of the paper's table: output channels of each convolution; ``pool`` is followed by a pool."""

    name: str
    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    projection: int
    pool: int | None = None


INCEPTIONS = (
    Inception("inception3a", 64, 96, 128, 16, 32, 32),
    Inception("inception3b", 128, 128, 192, 32, 96, 64, pool=3),
    Inception("inception4a", 192, 96, 208, 16, 48, 64),
    Inception("inception4b", 160, 112, 224, 24, 64, 64),
    Inception("inception4c", 128, 128, 256, 24, 64, 64),
    Inception("inception4d", 112, 144, 288, 32, 64, 64),
    Inception("inception4e", 256, 160, 320, 32, 128, 128, pool=2),
    Inception("inception5a", 256, 160, 320, 32, 128, 128),
    Inception("inception5b", 384, 192, 384, 48, 128, 128),
)


class _Layer(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return relu(self.bn(self.conv(x)))


class _Module(nn.Module):
    """Four ways side by side. The third has a 3x3 kernel where the paper has 5x5: so the weights that people have were
    trained, and so they load."""

    def __init__(self, in_channels: int, row: Inception) -> None:
        super().__init__()
        self.branch1 = _Layer(in_channels, row.one)
        self.branch2 = nn.Sequential(_Layer(in_channels, row.three_reduce), _Layer(row.three_reduce, row.three, 3))
        self.branch3 = nn.Sequential(_Layer(in_channels, row.five_reduce), _Layer(row.five_reduce, row.five, 3))
        pool = nn.MaxPool2d(3, 1, padding=1, ceil_mode=True)
        self.branch4 = nn.Sequential(pool, _Layer(in_channels, row.projection))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """Three convolutions and nine inception modules. Weights have torchvision's names.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; 15 or more.
        inceptions: the modules, in order.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        inceptions: tuple[Inception, ...] = INCEPTIONS,
    ) -> None:
        super().__init__()
        self.conv1 = _Layer(input_shape[0], 64, 7, 2)
        self.conv2 = _Layer(64, 64)
        self.conv3 = _Layer(64, 192, 3)
        self.pools = {row.name: nn.MaxPool2d(row.pool, 2, ceil_mode=True) for row in inceptions if row.pool}
        self.names = [row.name for row in inceptions]
        self.first_pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        channels = 192
        for row in inceptions:
            self.add_module(row.name, _Module(channels, row))
            channels = row.one + row.three + row.five + row.projection
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first_pool(self.conv1(x))
        x = self.first_pool(self.conv3(self.conv2(x)))
        for name in self.names:
            x = self.get_submodule(name)(x)
            if name in self.pools:
                x = self.pools[name](x)
        logits: torch.Tensor = self.fc(self.dropout(x.mean((2, 3))))
        return logits
