"""SqueezeNet 1.1: Iandola et al. 2016, arXiv:1602.07360; 1.1 is the authors' own revision with less to compute."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from edgeq.models.layers import initialise

__all__ = ["SqueezeNet"]

# Of each fire module: squeeze channels, expand channels of each kind; None is a max pool.
FIRES = ((16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256))


class _Fire(nn.Module):
    """Squeeze with 1x1 convolutions, expand with 1x1 and 3x3 side by side."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = relu(self.squeeze(x))
        return torch.cat([relu(self.expand1x1(x)), relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """No batch norm, no dense layer: the classes are the channels of the last convolution. Weights have torchvision's
    names.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 as released; 17 or more.
        fires: (squeeze, expand) channels of each module, None for a pool.

    Takes float [N, C, H, W], gives scores [N, num_classes], none negative.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        fires: tuple[tuple[int, int] | None, ...] = FIRES,
    ) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        layers: list[nn.Module] = [nn.Conv2d(input_shape[0], 64, 3, 2), nn.ReLU(), pool]
        channels = 64
        for fire in fires:
            if fire is None:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            else:
                layers.append(_Fire(channels, *fire))
                channels = 2 * fire[1]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(channels, num_classes, 1), nn.ReLU())
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.features(x)).mean((2, 3))
        return scores
