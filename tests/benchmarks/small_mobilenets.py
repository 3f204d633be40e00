"""Depthwise networks with Relu in place of Relu6, of a size that trains on the digits in a minute."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["mobilenet_v1", "mobilenet_v2"]


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class _Inverted(nn.Module):
    """An inverted residual of expansion 4."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        width = 4 * inputs
        layers = [*_layer(inputs, width, 1), *_layer(width, width, 3, stride, width), *_layer(width, outputs, 1)[:-1]]
        self.layers, self.residual = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return x + result if self.residual else result


def mobilenet_v1() -> nn.Module:
    """Six depthwise-separable layers, for 3x32x32 and ten classes."""
    body: list[nn.Module] = _layer(3, 16, 3)
    for inputs, outputs, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1)):
        body += [*_layer(inputs, inputs, 3, stride, inputs), *_layer(inputs, outputs, 1)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def mobilenet_v2() -> nn.Module:
    """Six inverted residuals, for 3x32x32 and ten classes."""
    body: list[nn.Module] = _layer(3, 16, 3)
    for inputs, outputs, stride in ((16, 24, 1), (24, 24, 1), (24, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)):
        body.append(_Inverted(inputs, outputs, stride))
    return nn.Sequential(*body, *_layer(64, 128, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
