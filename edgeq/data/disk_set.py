"""A folder of images that does not fit into memory: decoded once to a file, and used from there, mapped into memory.

Files are decoded in parallel processes, a chunk at a time; what is done is noted, so that an interrupted pass goes on.
The space on disk is taken before the first image is decoded.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from edgeq.data.decode import SameSizeDecoder, Unreadable, is_image, quiet_pillow
from edgeq.data.image_data import ImageData
from edgeq.data.limits import read_member
from edgeq.data.members import has_control_characters, shown
from edgeq.errors import DataError
from edgeq.json_file import read_json
from edgeq.progress import Progress
from edgeq.whole_file import write_whole

__all__ = ["load_disk_set"]

LAYOUT: Final = "train/<class>/* and test/<class>/*"
SPLITS: Final = ("train", "test")
CHUNK: Final = 256  # images a piece of work
SPARE_BYTES: Final = 1 << 28  # left free on the disk
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class _Split:
    """One split: its files, ordered by class and name, and where their pixels lie, uint8 [files, 3, side, side]."""

    top: Path
    names: tuple[str, ...]
    pixels: Path
    side: int
    unreadable: Unreadable

    @property
    def row_bytes(self) -> int:
        return 3 * self.side * self.side

    @property
    def size_bytes(self) -> int:
        return len(self.names) * self.row_bytes

    @property
    def marks(self) -> Path:
        """A byte a file: 0 not yet, 1 decoded, 2 unreadable and left out."""
        return self.pixels.with_suffix(".marks")


def load_disk_set(top: Path, cache: Path, side: int, unreadable: Unreadable, progress: Progress) -> ImageData:
    """The images of a folder, mapped from a file that is made on the first call.

    Args:
        top: a folder with ``train/<class>/*`` and ``test/<class>/*``, or with one such folder in it.
        cache: where the file goes, in a folder of its own by names, sizes and dates of the images and by ``side``.
        side: in pixels, as for :func:`edgeq.data.load_data`.
        unreadable: ``error`` or ``skip``.
        progress: shown an image at a time.

    Returns:
        Images uint8 [N, 3, side, side] that are read from disk when they are used; do not write into them.

    Raises:
        DataError: the folder is of another shape, the disk has no room, an image cannot be decoded, or the size is not
            given.
    """
    if not side:
        raise DataError("a disk set needs a size", where="data.cache", remedy="pass --image-size")
    if not top.is_dir():
        raise DataError("only a folder can be used from disk", where=top, remedy="unpack it, or leave out --cache")
    top = _with_splits(top)
    found = {split: tuple(_files(top, split)) for split in SPLITS}
    classes = _classes(found, top)
    key = _key(top, found, side, unreadable)
    folder = cache / f"images-{key[:16]}"
    splits = {split: _Split(top, names, folder / f"{split}.u8", side, unreadable) for split, names in found.items()}
    done = folder / "done.json"
    with _alone(folder):
        if not done.is_file():
            _make(splits, folder, progress)
            for split in splits.values():
                _fill_holes(split)
            write_whole(done, json.dumps(_facts(splits, key, classes, progress)).encode())
    return _open(splits, classes, _read_facts(done, key, splits), top.resolve().name, progress)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Several trainings of a sweep want the same set: one makes it, the others wait."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise DataError("the disk set cannot be made", where=folder, got=error.strerror or error) from error


def _with_splits(top: Path) -> Path:
    """The folder itself, or the only one in it that has the splits."""
    if (top / "train").is_dir():
        return top
    inner = [path for path in sorted(top.iterdir()) if (path / "train").is_dir()]
    if len(inner) != 1:
        raise DataError("there is no train folder with classes", where=top, wanted=LAYOUT)
    return inner[0]


def _files(top: Path, split: str) -> Iterator[str]:
    """Names below ``top`` of a split's images, sorted by class and name."""
    if not (top / split).is_dir():
        raise DataError(f"there is no {split} folder with classes", where=top, wanted=LAYOUT)
    for label in sorted(entry.name for entry in os.scandir(top / split) if entry.is_dir() and entry.name[0] != "."):
        names = sorted(
            entry.name
            for entry in os.scandir(top / split / label)
            if entry.name[0] != "." and is_image(entry.name) and entry.is_file()
        )
        for name in names:
            if has_control_characters(label + name):
                raise DataError("a name has a control character", where=top, got=ascii(f"{label}/{name}"))
            yield f"{split}/{label}/{name}"


def _classes(found: dict[str, tuple[str, ...]], top: Path) -> tuple[str, ...]:
    train, test = ({name.split("/")[1] for name in found[split]} for split in SPLITS)
    if different := sorted(train ^ test):
        name, split = shown(different[0]), "test" if different[0] in train else "train"
        got = f"no image in {split}/{name}"
        raise DataError("classes are in one of train and test only", where=top, got=got, wanted="the same in both")
    return tuple(sorted(train))


def _key(top: Path, found: dict[str, tuple[str, ...]], side: int, unreadable: str) -> str:
    digest = hashlib.sha256(f"{VERSION} {side} {unreadable}".encode())
    for names in found.values():
        for name in names:
            facts = (top / name).stat()
            digest.update(f"{name}\n{facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _make(splits: dict[str, _Split], folder: Path, progress: Progress) -> None:
    """Decode what is not decoded yet."""
    _take_space(splits, folder)
    todo = [(split, rows) for split in splits.values() for rows in _open_rows(split)]
    left = sum(len(rows) for _, rows in todo)
    workers = min(len(os.sched_getaffinity(0)), len(todo))
    with progress.task("decode images to disk", left) as task:
        if workers <= 1:
            for split, rows in todo:
                _decode(split, rows)
                task.advance(len(rows))
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            waiting = iter(todo)
            running = {pool.submit(_decode, *item): item for _, item in zip(range(2 * workers), waiting, strict=False)}
            try:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        _, rows = running.pop(future)
                        future.result()
                        task.advance(len(rows))
                        for item in waiting:
                            running[pool.submit(_decode, *item)] = item
                            break
            finally:
                pool.shutdown(cancel_futures=True)


def _take_space(splits: dict[str, _Split], folder: Path) -> None:
    """Make the files in their full size, so that a full disk is found now and not by a fault in mapped memory."""
    there = sum(s.pixels.stat().st_blocks * 512 for s in splits.values() if s.pixels.is_file())
    need = sum(s.size_bytes + len(s.names) for s in splits.values()) - there
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if need > free:
        got, wanted = f"{need / 2**20:,.0f} MiB", f"at most {max(free, 0) / 2**20:,.0f} MiB"
        raise DataError(
            "does not fit on the disk", where=folder, got=got, wanted=wanted, remedy="pass --cache FOLDER elsewhere"
        )
    for split in splits.values():
        for path, size in ((split.marks, len(split.names)), (split.pixels, split.size_bytes)):
            with path.open("ab") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                os.truncate(path, size)


def _open_rows(split: _Split) -> Iterator[range]:
    """Chunks with an image that is not decoded yet."""
    marks = np.fromfile(split.marks, np.uint8)
    for start in range(0, len(marks), CHUNK):
        if not marks[start : start + CHUNK].all():
            yield range(start, min(start + CHUNK, len(marks)))


def _decode(split: _Split, rows: range) -> None:
    """Decode a chunk's files into their rows, and note it when they are written."""
    decoder = SameSizeDecoder(3, (split.side, split.side), split.unreadable)
    marks = bytearray()
    shape = (len(split.names), 3, split.side, split.side)
    pixels = np.memmap(split.pixels, np.uint8, "r+", shape=shape)
    with quiet_pillow():
        for row in rows:
            path = split.top / split.names[row]
            image = decoder.decode(read_member(path), str(path))
            marks.append(2 if image is None else 1)
            if image is not None:
                pixels[row] = image
    pixels.flush()
    with split.marks.open("r+b") as file:
        file.seek(rows.start)
        file.write(marks)


def _facts(splits: dict[str, _Split], key: str, classes: Sequence[str], progress: Progress) -> dict[str, Any]:
    """What is known of a finished set: the rows that count, and the fingerprint of their pixels."""
    sha256 = hashlib.sha256("\n".join(classes).encode())
    total = sum(split.size_bytes for split in splits.values())
    with progress.task("fingerprint of the images", total) as task:
        for split in splits.values():
            sha256.update(split.marks.read_bytes())
            sha256.update("\n".join(split.names).encode())
            with split.pixels.open("rb") as file:
                while part := file.read(1 << 24):
                    sha256.update(part)
                    task.advance(len(part))
    return {"key": key, "sha256": sha256.hexdigest()}


def _read_facts(path: Path, key: str, splits: dict[str, _Split]) -> str:
    try:
        facts = read_json(path)
        whole = all(split.pixels.stat().st_size == split.size_bytes for split in splits.values())
        if facts["key"] == key and whole:
            return str(facts["sha256"])
    except (OSError, KeyError, TypeError):
        pass
    raise DataError("the disk set is damaged", where=path.parent, remedy="delete the folder")


def _open(splits: dict[str, _Split], classes: tuple[str, ...], sha256: str, name: str, progress: Progress) -> ImageData:
    images, labels, skipped = {}, {}, 0
    index = {label: number for number, label in enumerate(classes)}
    for key, split in splits.items():
        count, holes, movers = _moves(split)
        numbers = torch.tensor([index[item.split("/")[1]] for item in split.names], dtype=torch.int64)
        numbers[holes] = numbers[movers]
        images[key], labels[key] = _mapped(split)[:count], numbers[:count].contiguous()
        skipped += len(split.names) - count
    if skipped:
        progress.warn(f"{skipped} unreadable images were left out")
    return ImageData(
        name=name,
        train_images=images["train"],
        train_labels=labels["train"],
        test_images=images["test"],
        test_labels=labels["test"],
        classes=classes,
        skipped=skipped,
        on_disk=True,
        known_sha256=sha256,
    )


def _mapped(split: _Split) -> torch.Tensor:
    shape = (len(split.names), 3, split.side, split.side)
    with warnings.catch_warnings():  # a mapping that could be written would count as memory that is promised
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(np.memmap(split.pixels, np.uint8, "r", shape=shape))


def _moves(split: _Split) -> tuple[int, list[int], list[int]]:
    """How many rows count, which of these were left out, and the rows from the end that take their place."""
    kept = np.flatnonzero(np.fromfile(split.marks, np.uint8) == 1)
    return len(kept), np.setdiff1d(np.arange(len(kept)), kept).tolist(), kept[kept >= len(kept)].tolist()


def _fill_holes(split: _Split) -> None:
    count, holes, movers = _moves(split)
    if not count:
        raise DataError("there are no readable images", where=split.top, got=split.pixels.stem)
    shape = (len(split.names), 3, split.side, split.side)
    pixels = np.memmap(split.pixels, np.uint8, "r+", shape=shape)
    for hole, row in zip(holes, movers, strict=True):
        pixels[hole] = pixels[row]
    pixels.flush()
