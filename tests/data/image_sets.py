"""Small data sets that the tests write: images that differ on every axis, in every container."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from edgeq.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

HEIGHT, WIDTH = 6, 9
TarMode = Literal["w", "w:gz", "w:bz2", "w:xz"]


def pixels(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """RGB [H, W, 3] whose every value tells image, row, column and channel apart."""
    row, column, channel = np.ogrid[:height, :width, :3]
    values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (
        (number * 31 + row * 11 + column * 3 + channel * 70) % 256
    ).astype(np.uint8)
    return values


def image_bytes(number: int, *, height: int = HEIGHT, width: int = WIDTH, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number, height, width)).save(buffer, form)
    return buffer.getvalue()


def small_set() -> dict[str, bytes]:
    """Two classes, five images, in an order that is not the sorted one."""
    names = ["train/cat/b.png", "test/dog/x.png", "train/dog/a.png", "train/cat/a.png", "test/cat/y.png"]
    return {name: image_bytes(number) for number, name in enumerate(names)}


def write_folder(top: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(top)


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def write_tar(path: Path, files: Mapping[str, bytes], mode: TarMode = "w:xz") -> str:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


class Listener(Silent):
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.total = self.done = 0

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Listener]:
        self.total, self.done = total, done
        yield self
