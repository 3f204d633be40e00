"""Small pictures inside the page: data URIs of images, shrunk where they are large."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeq.errors import FormatError

__all__ = ["LONGEST_SIDE", "check_uri", "png_uri", "thumbnail_uri"]

LONGEST_SIDE = 96
MOST_PNG_BYTES = 8192  # above that a picture of this size is a photo, which JPEG holds in a quarter
MOST_URI = 65_536
_URI = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


def thumbnail_uri(image: NDArray[np.uint8]) -> str:
    """An image of the test set, at most 96 pixels high and wide: PNG, exact if it was not shrunk, or JPEG if large.

    Args:
        image: uint8 [H, W, 3] or [H, W, 1].

    Raises:
        FormatError: another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        got = f"{image.dtype} {image.shape}"
        raise FormatError("cannot draw an image", got=got, wanted="uint8 [H, W, 3] or [H, W, 1]")
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    content = _encoded(picture, "PNG", optimize=True)
    if len(content) > MOST_PNG_BYTES:
        return _uri("jpeg", _encoded(picture, "JPEG", quality=88, subsampling=0))
    return _uri("png", content)


def png_uri(image: NDArray[np.uint8]) -> str:
    """A drawing, pixel by pixel: uint8 [H, W, 4], red, green, blue, opacity."""
    return _uri("png", _encoded(Image.fromarray(image), "PNG", optimize=True))


def check_uri(uri: str) -> None:
    """Refuse what is not the URI of a small picture.

    Raises:
        FormatError: it is something else.
    """
    if len(uri) > MOST_URI or not _URI.fullmatch(uri):
        raise FormatError("is not the data URI of a small picture", where="disagreements", got=f"{uri[:40]!r}")


def _encoded(picture: Image.Image, form: str, **options: bool | int) -> bytes:
    data = io.BytesIO()
    picture.save(data, format=form, **options)
    return data.getvalue()


def _uri(form: str, content: bytes) -> str:
    return f"data:image/{form};base64," + base64.b64encode(content).decode("ascii")
