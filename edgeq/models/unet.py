"""U-Net: Ronneberger et al. 2015, "Convolutional Networks for Biomedical Image Segmentation", arXiv:1505.04597, with
padded convolutions and batch norm, as in all later work."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models.layers import conv_norm, initialise

__all__ = ["UNet"]

_STEPS = 4


class UNet(nn.Module):
    """Four times halved by max pools and doubled by 2x2 transposed convolutions, each size joined across.

    Args:
        width: channels at full size, 64 in the paper; doubled with each halving.
        num_classes: channels of the output.
        input_shape: (C, H, W), each side a multiple of 16.

    Takes float [N, C, H, W], gives logits [N, num_classes, H, W].

    Raises:
        ModelError: a side is no multiple of 16.
    """

    def __init__(self, width: int, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *sides = input_shape
        if any(side % 2**_STEPS for side in sides):
            wanted = f"sides that are multiples of {2**_STEPS}"
            raise ModelError("the image cannot be halved so often", where="unet", got=sides, wanted=wanted)
        widths = [width * 2**i for i in range(_STEPS + 1)]
        self.down = nn.ModuleList(_pair(a, b) for a, b in pairwise([channels, *widths]))
        up = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in up)
        self.joined = nn.ModuleList(_pair(a, b) for a, b in up)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, num_classes, 1)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        across = []
        for stage in list(self.down)[:-1]:
            across.append(stage(x))
            x = self.pool(across[-1])
        x = self.down[-1](x)
        for up, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat([across.pop(), up(x)], 1))
        logits: torch.Tensor = self.head(x)
        return logits


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(in_channels, out_channels, 3), conv_norm(out_channels, out_channels, 3))
