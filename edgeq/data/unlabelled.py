"""Images without labels, for calibration: any folder or archive of them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from edgeq.data.decode import ImageRows, SameSizeDecoder, Unreadable, is_image, quiet_pillow
from edgeq.data.source import open_source, reading
from edgeq.errors import DataError
from edgeq.progress import Progress, Silent

__all__ = ["load_images"]

_MAX_SIDE = 4096

_T = TypeVar("_T")


def load_images(
    path: str,
    *,
    image_size: int = 0,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    unreadable: Unreadable = "error",
    limit: int | None = None,
    progress: Progress = Silent(),  # noqa: B008  # has no state
) -> torch.Tensor:
    """Load the images of a folder or archive, flat or nested.

    Args:
        path: a folder, .zip or .tar (plain, gzip, bzip2, xz).
        image_size: side in pixels to scale and crop to; 0 takes images as they are.
        size: (height, width) to scale and crop to; goes before ``image_size``.
        channels: 3 for RGB, 1 for grey.
        unreadable: ``error`` stops at an image that cannot be decoded, ``skip`` leaves it out.
        limit: at most so many, spread evenly over the names in order, so that each folder has its share.
        progress: where to report to.

    Returns:
        uint8 [N, channels, H, W], ordered by name.

    Raises:
        DataError: there is none, one cannot be read, or sizes differ where none was asked for.
    """
    size = size or ((image_size, image_size) if image_size else None)
    _check(path, size, channels, limit)
    source = open_source(Path(path))
    picked = None if source.names is None else set(_spread(sorted(filter(is_image, source.names)), limit))
    rows, decoder = ImageRows(len(picked or ()), source.path), SameSizeDecoder(channels, size, unreadable)
    with quiet_pillow(), reading(source, progress) as members:
        for member in members:
            if member.is_folder or not is_image(member.name) or (picked is not None and member.name not in picked):
                continue
            pixels = decoder.decode(member.read(), f"{path}: {member.name}")
            if pixels is not None:
                rows.append((member.name,), pixels)
    if decoder.skipped:
        progress.warn(f"{decoder.skipped} unreadable images were left out")
    if not rows.keys:
        raise DataError(
            "there are no readable images", where=path, got=f"{decoder.skipped} unreadable", wanted="1 or more"
        )
    _, images = rows.finish()
    if picked is None and limit is not None and len(images) > limit:  # a tar's names are known only after its pass
        return images[_spread(list(range(len(images))), limit)]
    return images


def _check(path: str, size: tuple[int, int] | None, channels: int, limit: int | None) -> None:
    if channels not in (1, 3):
        raise DataError("images have no such number of channels", where=path, got=channels, wanted="1 or 3")
    if limit is not None and limit < 1:
        raise DataError("out of range", where="the number of calibration images", got=limit, wanted="1 or more")
    if size is not None and not all(1 <= side <= _MAX_SIDE for side in size):
        raise DataError("out of range", where="the image size", got=size, wanted=f"1 to {_MAX_SIDE}")


def _spread(items: list[_T], limit: int | None) -> list[_T]:
    """At most ``limit`` items at equal distances, the first one included."""
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]
