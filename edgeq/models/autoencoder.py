"""A convolutional auto-encoder: Masci et al. 2011, "Stacked Convolutional Auto-Encoders", with strides for the pools
and transposed convolutions (Dumoulin and Visin 2016, arXiv:1603.07285, chapter 4) for the decoder."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models.layers import conv_norm, initialise

__all__ = ["AutoEncoder"]


class AutoEncoder(nn.Module):
    """Halve the size by 3x3 convolutions, double it again by 4x4 transposed ones (a multiple of the stride: no
    checkerboard).

    Args:
        num_classes: not used; the output is an image.
        input_shape: (C, H, W), each side a multiple of 2 to the number of widths.
        widths: channels of each stage of the encoder.

    Takes float [N, C, H, W] in [-1, 1], gives the same shape and range, through tanh.

    Raises:
        ModelError: a side that cannot be halved so often.
    """

    def __init__(
        self, num_classes: int, input_shape: tuple[int, int, int], widths: tuple[int, ...] = (32, 64, 128)
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        multiple = 2 ** len(widths)
        if height % multiple or width % multiple:
            got, wanted = f"{width}x{height}", f"sides that are multiples of {multiple}"
            raise ModelError("the image cannot be halved so often", where="autoencoder", got=got, wanted=wanted)
        sizes = (channels, *widths)
        self.encoder = nn.Sequential(*(conv_norm(a, b, 3, 2) for a, b in pairwise(sizes)))
        decoder: list[nn.Module] = []
        for a, b in pairwise(reversed(widths)):
            decoder += [nn.ConvTranspose2d(a, b, 4, 2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(widths[0], channels, 4, 2, padding=1), nn.Tanh()]
        self.decoder = nn.Sequential(*decoder)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.decoder(self.encoder(x))
        return y
