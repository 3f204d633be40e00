"""EfficientNet-Lite0: Tan and Le 2019, arXiv:1905.11946, table 1, without squeeze-and-excite and with ReLU6, as its
authors released it for int8 hardware in 2020."""

from __future__ import annotations

import torch
from torch import nn

from edgeq.models.layers import conv_norm, initialise
from edgeq.models.mobilenet_v2 import InvertedResidual

__all__ = ["EfficientNetLite0"]

# Of each stage: expansion, kernel, output channels, blocks, stride of the first.
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


class EfficientNetLite0(nn.Module):
    """A 3x3 convolution, stages of inverted residuals with 3x3 and 5x5 kernels, a 1x1 convolution.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 as released; any size.
        stages: (expansion, kernel, output channels, blocks, stride of the first) each.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        stages: tuple[tuple[int, int, int, int, int], ...] = STAGES,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(input_shape[0], 32, 3, 2, activation=nn.ReLU6)]
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
