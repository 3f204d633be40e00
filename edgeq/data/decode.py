"""From an image file's bytes to pixels, and many of these to one tensor. Knows nothing of folders and archives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.data.limits import MAX_IMAGE_PIXELS, require_memory
from edgeq.data.members import has_control_characters
from edgeq.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageRows", "SameSizeDecoder", "Unreadable", "decode_image", "is_image", "quiet_pillow"]

Unreadable = Literal["error", "skip"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "PPM", "TIFF")  # no other decoder is tried, whatever the bytes say
_SKIP = "pass --unreadable skip to leave it out"
_START_ROWS = 1024


def is_image(name: str) -> bool:
    """Whether a file's name ends as that of an image that can be decoded."""
    return name.lower().endswith(_SUFFIXES)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's remarks about odd files off stderr; what matters of them is raised."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def decode_image(content: bytes, where: str, *, channels: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decode one image.

    Args:
        content: the file's bytes: JPEG, PNG, BMP, WebP, GIF (first frame), PPM, PGM or TIFF.
        where: the file, for messages.
        channels: 3 for RGB, 1 for grey.
        size: (height, width) to scale to (bilinear, antialiased; the long side is cropped around the centre), or None.

    Returns:
        Pixels uint8 [channels, H, W].

    Raises:
        DataError: no such image, truncated, or more than 64 million pixels; told from the header, before decoding.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_IMAGE_PIXELS:
                raise DataError("too many pixels", where=where, got=pixels, wanted=f"{MAX_IMAGE_PIXELS}", remedy=_SKIP)
            return _pixels(image, channels, size)
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error and more
        reason = str(error) if "BytesIO" not in str(error) else "no image in it"
        raise DataError("the image cannot be read", where=where, got=reason, remedy=_SKIP) from error


def _pixels(image: Image.Image, channels: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if size is not None:
        image.draft(None, (2 * size[1], 2 * size[0]))  # a JPEG decodes at a fraction of its size, at least twice ours
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip at 255
        deep = np.asarray(image).clip(0, 0xFFFF).astype(np.uint16)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels")
    if "exif" in image.info:
        image = ImageOps.exif_transpose(image)
    image = image.convert("RGB" if channels == 3 else "L")
    if size is not None and (image.height, image.width) != size:
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)


class SameSizeDecoder:
    """Decodes images one by one and holds them to one size.

    Args:
        channels: 3 for RGB, 1 for grey.
        size: (height, width) to scale to, or None: all must then be of the first one's size.
        unreadable: what an image that cannot be decoded does: ``error`` raises, ``skip`` counts it in ``skipped``.
    """

    def __init__(self, channels: int, size: tuple[int, int] | None, unreadable: Unreadable) -> None:
        self._channels, self._size, self._unreadable = channels, size, unreadable
        self._shape: tuple[int, ...] = ()
        self.skipped = 0

    def decode(self, content: bytes, where: str) -> NDArray[np.uint8] | None:
        """Pixels uint8 [channels, H, W], or None for an image to leave out.

        Raises:
            DataError: it cannot be decoded, or has another size; a control character in ``where``.
        """
        if has_control_characters(where):
            raise DataError("a name has a control character", where=ascii(where))
        try:
            pixels = decode_image(content, where, channels=self._channels, size=self._size)
        except DataError:
            if self._unreadable == "error":
                raise
            self.skipped += 1
            return None
        self._shape = self._shape or pixels.shape
        if pixels.shape != self._shape:
            raise DataError(
                "the image has another size than the first one read",
                where=where,
                got=f"{pixels.shape[2]}x{pixels.shape[1]}",
                wanted=f"{self._shape[2]}x{self._shape[1]}",
                remedy="pass --image-size to scale all to one",
            )
        return pixels


class ImageRows:
    """Images of one shape in the order they come, in one array, put in order at the end without a second one.

    Args:
        expected: how many will come at most, or 0 where that is not known: the array then grows.
        where: the folder or archive, for messages.
    """

    def __init__(self, expected: int, where: object) -> None:
        self._expected = expected
        self._where = where
        self._pixels: NDArray[np.uint8] = np.empty((0, 0, 0, 0), np.uint8)
        self.keys: list[tuple[str, ...]] = []

    def append(self, key: tuple[str, ...], image: NDArray[np.uint8]) -> None:
        """Add one image [C, H, W]; all are of the first one's shape.

        Raises:
            DataError: the array would not fit into memory.
        """
        row = len(self.keys)
        if row == len(self._pixels):
            self._reserve(
                row + max(_START_ROWS, row // 4) if row or not self._expected else self._expected, image.shape
            )
        self._pixels[row] = image
        self.keys.append(key)

    def _reserve(self, rows: int, shape: tuple[int, ...]) -> None:
        more = (rows - len(self._pixels)) * int(np.prod(shape))
        require_memory(more, where=self._where, remedy="pass --cache FOLDER, or a smaller --image-size")
        if len(self.keys):
            self._pixels.resize((rows, *shape), refcheck=False)  # realloc: moves pages and copies nothing
        else:
            self._pixels = np.empty((rows, *shape), np.uint8)

    def finish(self) -> tuple[list[tuple[str, ...]], torch.Tensor]:
        """The keys in order and the pixels uint8 [N, C, H, W] in the same order; nothing can be added any more.

        Raises:
            DataError: two images have the same name.
        """
        order = sorted(range(len(self.keys)), key=self.keys.__getitem__)
        keys = [self.keys[row] for row in order]
        for first, second in pairwise(keys):
            if first == second:
                raise DataError("a file is there twice", where=self._where, got="/".join(first))
        self._pixels.resize((len(keys), *self._pixels.shape[1:]), refcheck=False)
        _reorder(self._pixels, order)
        return keys, torch.from_numpy(self._pixels)


def _reorder(rows: NDArray[np.uint8], order: Sequence[int]) -> None:
    """``rows = rows[order]`` in place, cycle by cycle, with one spare row."""
    done = bytearray(len(order))
    for start in range(len(order)):
        if done[start] or order[start] == start:
            continue
        spare, row = rows[start].copy(), start
        while order[row] != start:
            rows[row] = rows[order[row]]
            done[row] = 1
            row = order[row]
        rows[row] = spare
        done[row] = 1
