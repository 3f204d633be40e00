"""Cuts out of images: at the centre, or of random size, place and shape."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

from edgeq.data.pixels import to_pixels

__all__ = ["center_crop", "random_resized_crop"]

WIDEST = 4 / 3


def center_crop(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle of each image.

    Args:
        images: [N, C, H, W].
        size: (height, width), no larger than the images; where a margin is odd, the lower or right one is larger.

    Returns:
        [N, C, height, width], contiguous.
    """
    height, width = size
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width].contiguous()


def random_resized_crop(
    images: torch.Tensor, size: tuple[int, int], least: float, generator: torch.Generator
) -> torch.Tensor:
    """A random part of each image, scaled bilinearly to one size (not antialiased).

    Args:
        images: uint8 [N, C, H, W] on any device.
        size: (height, width) of the result.
        least: the smallest share of an image's area, above 0; the share is drawn evenly from there to 1, the ratio of
            the sides evenly on a logarithmic scale from 3/4 to 4/3. A part is never longer than its image.
        generator: where the random numbers come from; may be on another device than the images.

    Returns:
        uint8 [N, C, height, width].

    Source: Szegedy et al. 2014, "Going Deeper with Convolutions", arXiv:1409.4842, section 6.
    """
    count, channels = images.shape[:2]
    draws = torch.rand((4, count), generator=generator, device=generator.device).to(images.device)
    area = least + (1 - least) * draws[0]
    ratio = torch.exp((2 * draws[1] - 1) * math.log(WIDEST))
    sides = [(area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)]  # of the image's width and height
    theta = torch.zeros((count, 2, 3), device=images.device)
    for axis, side in enumerate(sides):
        theta[:, axis, axis] = side
        theta[:, axis, 2] = (2 * draws[2 + axis] - 1) * (1 - side)
    grid = affine_grid(theta, [count, channels, *size], align_corners=False)
    values = grid_sample(images.to(torch.float32), grid, padding_mode="border", align_corners=False)
    return to_pixels(values)
