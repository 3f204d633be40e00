"""Images of uint8 pixels, computed with as float32 and rounded back."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

__all__ = ["scaled", "to_pixels"]


def to_pixels(values: torch.Tensor) -> torch.Tensor:
    """float32 of any shape, rounded in place and held to 0 to 255: uint8."""
    return values.round_().clamp_(0, 255).to(torch.uint8)


def scaled(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scale uint8 [N, C, H, W] to (height, width), bilinearly and antialiased; on their device."""
    if tuple(images.shape[2:]) == size:
        return images
    return to_pixels(interpolate(images.to(torch.float32), size, mode="bilinear", antialias=True))
