"""Colour augmentation: brightness, contrast and an offset along the principal axes of a data set's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from edgeq.data.pixels import to_pixels

__all__ = ["ColorChange", "change_colors", "color_axes"]

MOST_IMAGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ColorChange:
    """How far the colours of an image may move.

    Attributes:
        brightness: the largest offset, in pixel values; each image's is drawn evenly from both sides of 0.
        contrast: distances from each channel's mean are multiplied by a factor drawn evenly from 1 - contrast to 1 +
            contrast.
        offset: standard deviation of the factor along each of ``axes``.
        axes: [C, C], a column a principal axis, as :func:`color_axes` gives them.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    offset: float = 0.0
    axes: torch.Tensor | None = None

    def __bool__(self) -> bool:
        return any((self.brightness, self.contrast, self.offset))


def change_colors(images: torch.Tensor, change: ColorChange, generator: torch.Generator) -> torch.Tensor:
    """Move the colours of each image: the offset along the axes first, then brightness, then contrast.

    Args:
        images: uint8 [N, C, H, W] on any device.
        change: how far.
        generator: where the random numbers come from; may be on another device than the images.

    Returns:
        uint8 [N, C, H, W], rounded and clipped once.

    Source of brightness and contrast: the distortions of TensorFlow's CIFAR-10 tutorial.
    """
    count, channels = images.shape[:2]
    draws = torch.rand((2, count, 1, 1, 1), generator=generator, device=generator.device).to(images.device) * 2 - 1
    factors = torch.randn((count, channels), generator=generator, device=generator.device).to(images.device)
    values = images.to(torch.float32)
    if change.axes is not None and change.offset:
        moves = change.offset * factors @ change.axes.to(images.device).T
        values = values + moves[:, :, None, None]
    values = values + change.brightness * draws[0]
    mean = values.mean((2, 3), keepdim=True)
    values = (values - mean) * (1 + change.contrast * draws[1]) + mean
    return to_pixels(values)


def color_axes(images: torch.Tensor) -> torch.Tensor:
    """The principal axes of the pixels of a data set, each as long as its variance.

    Args:
        images: uint8 [N, C, H, W] on the CPU; 10,000 of them, evenly spread, are looked at.

    Returns:
        float32 [C, C], a column an axis: eigenvectors of the covariance of pixels in [0, 1], times eigenvalue and 255.

    Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 4.1.
    """
    chosen = images[:: -(-len(images) // MOST_IMAGES)]
    channels = chosen.shape[1]
    total, products, pixels = torch.zeros(channels), torch.zeros(channels, channels), 0
    total, products = total.double(), products.double()
    for part in torch.split(chosen, 256):
        rows = part.transpose(0, 1).reshape(channels, -1).double() / 255
        total += rows.sum(1)
        products += rows @ rows.T
        pixels += rows.shape[1]
    mean = total / pixels
    values, vectors = torch.linalg.eigh(products / pixels - torch.outer(mean, mean))
    axes: torch.Tensor = vectors * values.clamp_min(0) * 255
    return axes.to(torch.float32)
