from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from image_sets import image_bytes, pixels
from PIL import Image

from edgeq.data.decode import ImageRows, decode_image
from edgeq.errors import DataError


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decoded(content: bytes, channels: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return decode_image(content, "a.png", channels=channels, size=None)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_forms_give_the_pixels(form: str) -> None:
    assert np.array_equal(decoded(image_bytes(1, form=form)), pixels(1).transpose(2, 0, 1))


@pytest.mark.parametrize(("form", "tolerance"), [("JPEG", 6), ("WEBP", 6), ("GIF", 30)])
def test_lossy_forms_give_nearly_the_pixels(form: str, tolerance: int) -> None:
    row, column = np.mgrid[:16, :24]
    smooth = np.stack([row * 8, column * 8, 128 + row - column], 2).astype(np.uint8)
    options = {"quality": 95} if form != "GIF" else {}
    content = saved(Image.fromarray(smooth), form, **options)
    assert abs(decoded(content).astype(int) - smooth.transpose(2, 0, 1)).mean() < tolerance


def test_grey_and_palette_become_rgb() -> None:
    grey = pixels(2)[:, :, 0]
    for image in (Image.fromarray(grey), Image.fromarray(grey).convert("P"), Image.fromarray(grey).convert("RGBA")):
        assert np.array_equal(decoded(saved(image)), np.stack([grey] * 3))
    assert np.array_equal(decoded(saved(Image.fromarray(grey)), channels=1), grey[None])


def test_sixteen_bits_keep_their_upper_eight() -> None:
    deep = pixels(3)[:, :, 0].astype(np.uint16) * 256 + 77
    assert np.array_equal(decoded(saved(Image.fromarray(deep)), channels=1)[0], pixels(3)[:, :, 0])


def test_exif_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter to show
    content = saved(Image.fromarray(pixels(1)), "PNG", exif=exif)
    assert np.array_equal(decoded(content), np.rot90(pixels(1), -1).transpose(2, 0, 1))


def test_a_bomb_is_told_from_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    content = b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82"
    with pytest.raises(DataError, match=r"a\.png: .*(pixels|bomb)"):
        decoded(content)


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.data.decode.MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match=r"too many pixels .*got 54"):
        decoded(image_bytes(0))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0", image_bytes(0)[:50], image_bytes(0)[:-40]]
)
def test_what_is_no_whole_image_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.png: the image cannot be read.*--unreadable skip"):
        decoded(content)


@pytest.mark.parametrize("expected", [0, 3, 40])
def test_rows_come_out_in_the_order_of_their_keys(expected: int) -> None:
    names = torch.randperm(40, generator=torch.Generator().manual_seed(1)).tolist()[: expected or 40]
    rows = ImageRows(expected, "here")
    for name in names:
        rows.append((f"{name:02}",), pixels(name).transpose(2, 0, 1))
    keys, images = rows.finish()
    assert [int(key[0]) for key in keys] == sorted(names)
    assert images.is_contiguous()
    for image, name in zip(images, sorted(names), strict=True):
        assert np.array_equal(image.numpy(), pixels(name).transpose(2, 0, 1))


def test_rows_grow_past_any_first_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.data.decode._START_ROWS", 2)
    rows = ImageRows(0, "here")
    for number in reversed(range(30)):
        rows.append((f"{number:02}",), pixels(number).transpose(2, 0, 1))
    assert np.array_equal(rows.finish()[1].numpy(), np.stack([pixels(i).transpose(2, 0, 1) for i in range(30)]))
