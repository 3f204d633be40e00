"""VGG: Simonyan and Zisserman 2014, "Very Deep Convolutional Networks", arXiv:1409.1556, table 1, columns A and D."""

from __future__ import annotations

import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models.layers import initialise

__all__ = ["VGG", "VGG11", "VGG16"]

# Output channels of each stage's 3x3 convolutions; a max pool follows each stage.
VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """3x3 convolutions, five max pools, two dense layers and the classifier. Weights have torchvision's names.

    Args:
        stages: VGG11 or VGG16.
        hidden: units of each dense layer, 4096 in the paper.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; the first dense layer fits what the pools leave of it.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side is so short that a pool leaves nothing.
    """

    def __init__(
        self,
        stages: tuple[tuple[int, ...], ...],
        hidden: int,
        num_classes: int,
        input_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        shrink = 2 ** len(stages)
        if min(height, width) < shrink:
            got, wanted = f"{width}x{height}", f"{shrink}x{shrink} or more"
            raise ModelError(
                "images are too small", where="vgg", got=got, wanted=wanted, remedy=f"pass --image-size {shrink}"
            )
        layers: list[nn.Module] = []
        for stage in stages:
            for out_channels in stage:
                layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.ReLU()]
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        pixels = (height // shrink) * (width // shrink)
        dense: tuple[nn.Module, ...] = (nn.Linear(channels * pixels, hidden), nn.ReLU(), nn.Dropout(0.5))
        dense += (nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Sequential(*dense, nn.Linear(hidden, num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits
