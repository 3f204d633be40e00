"""What is done to a batch of images on its way into the network: augmentation and the default preprocessing."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from edgeq.data.colors import ColorChange, change_colors
from edgeq.data.crops import random_resized_crop
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
    images: torch.Tensor,
    *,
    crop_padding: int,
    flip: bool,
    generator: torch.Generator,
    cutout: int = 0,
    size: tuple[int, int] | None = None,
    crop_scale: float = 0.0,
    colors: ColorChange = ColorChange(),  # noqa: B008  # cannot be changed
) -> torch.Tensor:
    """Cut each image out of itself at a random place, mirror half of them, move colours, blank a square.

    What comes in at the border, and the square, have pixel value 128, which :func:`normalize` makes zero.

    Args:
        images: uint8 [N, C, H, W] on any device.
        crop_padding: pixels put on each side before the crop; 0 shifts nothing where the size stays.
        flip: whether to mirror left and right with probability 1/2.
        generator: where the random numbers come from; may be on another device than the images.
        cutout: side in pixels of a square blanked in each image, its centre anywhere in it; 0 blanks nothing.
        size: (height, width) of the crop, no larger than the images; left out, theirs.
        crop_scale: the smallest share of an image's area that is cut out and scaled to ``size``, in place of a crop
            with padding; 0 for that.
        colors: how far brightness, contrast and colour move.

    Returns:
        uint8 [N, C, height, width], contiguous, on the images' device; the same for the same generator state on every
        device that the images may be on.

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
    wanted = (images.shape[2], images.shape[3]) if size is None else size
    if crop_scale:
        images, crop_padding = random_resized_crop(images, wanted, crop_scale, generator), 0
    moves = crop_padding or flip or wanted != tuple(images.shape[2:])
    images = _moved(images, wanted, crop_padding, flip, generator) if moves else images.contiguous()
    if colors:
        images = change_colors(images, colors, generator)
    return _with_blank_square(images, cutout, generator) if cutout else images


def _moved(
    images: torch.Tensor, size: tuple[int, int], crop_padding: int, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Crop and mirror in one gather."""
    (count, channels), (height, width) = images.shape[:2], size
    draws = torch.rand((3, count, 1), generator=generator, device=generator.device).to(images.device)
    padded = pad(images, [crop_padding] * 4, value=PIXEL_ZERO).contiguous()
    spare = [padded.shape[2] - height, padded.shape[3] - width]
    offsets = [(draw * (most + 1)).long() for draw, most in zip(draws[:2], spare, strict=True)]  # rand is below 1
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    if flip:
        columns = torch.where(draws[2] < 0.5, columns.flip(1), columns)
    columns = columns + offsets[1]
    positions = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    index = positions.reshape(count, 1, height * width).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).reshape(count, channels, height, width)


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
