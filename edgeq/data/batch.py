"""What is done to a batch of images on its way into the network: augmentation and the default preprocessing."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from edgeq.errors import DataError

__all__ = ["PIXEL_SCALE", "PIXEL_ZERO", "augment", "normalize"]

PIXEL_ZERO = 128
PIXEL_SCALE = 1 / 128


def normalize(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(pixel - 128) / 128: the pixel grid is then the int8 grid of scale 1/128 and zero point 0.

    Args:
        images: uint8 [N, C, H, W] on any device, in any memory format.
        dtype: floating-point type of the result.

    Returns:
        Same shape, device and memory format, in [-1, 127/128]. Computed in float32, where it is exact, and then cast;
        bfloat16 and float16 hold all 256 values exactly too.
    """
    return images.to(torch.float32).sub_(PIXEL_ZERO).mul_(PIXEL_SCALE).to(dtype)


def augment(
    images: torch.Tensor, *, crop_padding: int, flip: bool, generator: torch.Generator, cutout: int = 0
) -> torch.Tensor:
    """Shift each image by a random whole number of pixels and mirror half of them, all in one gather; blank a square.

    What comes in at the border, and the square, have pixel value 128, which :func:`normalize` makes zero.

    Args:
        images: uint8 [N, C, H, W] on any device.
        crop_padding: pixels put on each side before a crop of the old size; 0 shifts nothing.
        flip: whether to mirror left and right with probability 1/2.
        generator: where the random numbers come from; may be on another device than the images.
        cutout: side in pixels of a square blanked in each image, its centre anywhere in it; 0 blanks nothing.

    Returns:
        uint8 [N, C, H, W], contiguous, on the images' device; the same for the same generator state on every device
        that the images may be on.

    Raises:
        DataError: the images are not uint8 [N, C, H, W], or the padding or the square is negative.

    Source of the square: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks with
    Cutout", arXiv:1708.04552.
    """
    if images.dtype != torch.uint8 or images.ndim != 4:
        got = f"{images.dtype} {list(images.shape)}"
        raise DataError("images of the wrong kind", where="augment", got=got, wanted="uint8 [N, C, H, W]")
    for name, pixels in (("crop_padding", crop_padding), ("cutout", cutout)):
        if pixels < 0:
            raise DataError("out of range", where=name, got=pixels, wanted="0 or more")
    images = _moved(images, crop_padding, flip, generator) if crop_padding or flip else images.contiguous()
    return _with_blank_square(images, cutout, generator) if cutout else images


def _moved(images: torch.Tensor, crop_padding: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    count, channels, height, width = images.shape
    draws = torch.rand((3, count, 1), generator=generator, device=generator.device).to(images.device)
    offsets = (draws[:2] * (2 * crop_padding + 1)).long()  # rand is below 1, so 0 to 2 * crop_padding
    padded = pad(images, [crop_padding] * 4, value=PIXEL_ZERO).contiguous()
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    if flip:
        columns = torch.where(draws[2] < 0.5, columns.flip(1), columns)
    columns = columns + offsets[1]
    positions = rows[:, :, None] * (width + 2 * crop_padding) + columns[:, None, :]
    index = positions.reshape(count, 1, height * width).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).reshape(images.shape)


def _with_blank_square(images: torch.Tensor, side: int, generator: torch.Generator) -> torch.Tensor:
    count, _, height, width = images.shape
    draws = torch.rand((2, count, 1), generator=generator, device=generator.device).to(images.device)
    inside = []
    for draw, length in zip(draws, (height, width), strict=True):
        first = (draw * length).long() - side // 2
        places = torch.arange(length, device=images.device)
        inside.append((places >= first) & (places < first + side))
    rows, columns = inside
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], PIXEL_ZERO)
