"""ShuffleNet-v2 1.0x: Ma et al. 2018, "Practical Guidelines for Efficient CNN Architecture Design",
arXiv:1807.11164."""

from __future__ import annotations

import torch
from torch import nn

from edgeq.models.layers import conv_norm, initialise

__all__ = ["ShuffleNetV2"]

STAGES = ((116, 4), (232, 8), (464, 4))  # output channels and blocks, table 5


class _Unit(nn.Module):
    """Figure 3 (c) and (d): half of the channels go past, the halves are then shuffled."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1.extend(conv_norm(in_channels, in_channels, 3, stride, in_channels, activation=None))
            self.branch1.extend(conv_norm(in_channels, half))
        self.branch2 = nn.Sequential(
            *conv_norm(in_channels if stride > 1 else half, half),
            *conv_norm(half, half, 3, stride, half, activation=None),
            *conv_norm(half, half),
        )
        self.split = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, 1) if self.split else (self.branch1(x), x)
        return _shuffle(torch.cat([first, self.branch2(second)], 1))


def _shuffle(x: torch.Tensor) -> torch.Tensor:
    """The channels of two halves in turns."""
    _, channels, height, width = x.shape
    return x.view(-1, 2, channels // 2, height, width).transpose(1, 2).reshape(-1, channels, height, width)


class ShuffleNetV2(nn.Module):
    """A 3x3 convolution, a max pool, three stages, a 1x1 convolution. Weights have torchvision's names.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; any size.
        stages: (output channels, blocks) each, at most three.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        stages: tuple[tuple[int, int], ...] = STAGES,
    ) -> None:
        super().__init__()
        self.conv1 = conv_norm(input_shape[0], 24, 3, 2)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 24
        self.stages: list[str] = []
        for number, (out_channels, blocks) in enumerate(stages):
            first = _Unit(channels, out_channels, 2)
            others = (_Unit(out_channels, out_channels, 1) for _ in range(blocks - 1))
            self.stages.append(f"stage{number + 2}")
            self.add_module(self.stages[-1], nn.Sequential(first, *others))
            channels = out_channels
        self.conv5 = conv_norm(channels, 1024)
        self.fc = nn.Linear(1024, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.conv1(x))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(self.conv5(x).mean((2, 3)))
        return logits
