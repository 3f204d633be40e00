"""DS-CNN for keyword spotting: Zhang et al. 2017, "Hello Edge", arXiv:1711.07128, table 5 (DS-CNN-S), on images of
time and frequency as in the paper, and with the frequencies as channels of a signal in time."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

from edgeq.models.layers import conv_norm, initialise

__all__ = ["DSCNN", "DSCNN1D"]

_WIDTH, _BLOCKS = 64, 4
_KERNEL, _STRIDE = (10, 4), 2


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, as TensorFlow's SAME has it: the odd one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class DSCNN(nn.Module):
    """A 10x4 convolution of stride 2 and four blocks of a 3x3 depthwise and a 1x1 convolution, 64 channels.

    Args:
        num_classes: length of the output, 12 in the paper.
        input_shape: (C, frames, coefficients), (1, 49, 10) in the paper.

    Takes float [N, C, frames, coefficients], gives logits [N, num_classes].
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, frames, coefficients = input_shape
        self.padding = [*_same(coefficients, _KERNEL[1], _STRIDE), *_same(frames, _KERNEL[0], _STRIDE)]
        self.conv = nn.Conv2d(channels, _WIDTH, _KERNEL, _STRIDE, bias=False)
        self.first = nn.Sequential(nn.BatchNorm2d(_WIDTH), nn.ReLU())
        layers = [
            layer for _ in range(_BLOCKS) for layer in (conv_norm(_WIDTH, _WIDTH, 3, groups=_WIDTH), conv_norm(64, 64))
        ]
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(_WIDTH, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.conv(pad(x, self.padding)))
        logits: torch.Tensor = self.fc(self.blocks(x).mean((2, 3)))
        return logits


class DSCNN1D(nn.Module):
    """The same along time alone: a convolution of 10 frames and stride 2, four blocks of 9 frames depthwise and 1.

    Args:
        num_classes: length of the output.
        input_shape: (coefficients, frames).

    Takes float [N, coefficients, frames], gives logits [N, num_classes].
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int]) -> None:
        super().__init__()
        coefficients, frames = input_shape
        self.padding = _same(frames, _KERNEL[0], _STRIDE)
        layers: list[nn.Module] = [nn.Conv1d(coefficients, _WIDTH, _KERNEL[0], _STRIDE, bias=False)]
        layers += [nn.BatchNorm1d(_WIDTH), nn.ReLU()]
        for _ in range(_BLOCKS):
            for kernel, groups in ((9, _WIDTH), (1, 1)):
                conv = nn.Conv1d(_WIDTH, _WIDTH, kernel, padding=kernel // 2, groups=groups, bias=False)
                layers += [conv, nn.BatchNorm1d(_WIDTH), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(_WIDTH, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.features(pad(x, self.padding)).mean(2))
        return logits
