"""Images on disk: the pixels of those in memory, decoded once, gone on with, refused where too many."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from image_sets import image_bytes, small_set, write_folder

from edgeq.data import ImageData, disk_set, load_data
from edgeq.errors import DataError


def folder(tmp_path: Path, count: int = 5) -> Path:
    files = {
        f"{split}/{label}/{number}.png": image_bytes(7 * number + len(label), height=12, width=14)
        for split in ("train", "test")
        for label in ("cat", "horse")
        for number in range(count)
    }
    write_folder(tmp_path / "images", files)
    return tmp_path / "images"


def from_disk(top: Path, cache: Path, **options: object) -> ImageData:
    return load_data(str(top), image_size=10, cache=str(cache), **options)  # type: ignore[arg-type]


def assert_same(disk: ImageData, memory: ImageData) -> None:
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(disk, name), getattr(memory, name)), name
    assert (disk.classes, disk.name, disk.mirrors) == (memory.classes, memory.name, memory.mirrors)


@pytest.mark.parametrize("chunk", [3, 256])
def test_the_pixels_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(disk_set, "CHUNK", chunk)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    top = folder(tmp_path)
    disk = from_disk(top, tmp_path / "cache")
    assert disk.on_disk
    assert_same(disk, load_data(str(top), image_size=10))
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    shutil.move(top, wrapped / "inner")
    assert_same(from_disk(wrapped / "inner", tmp_path / "cache"), load_data(str(wrapped / "inner"), image_size=10))


def test_processes_decode_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_set, "CHUNK", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    top = folder(tmp_path)
    assert_same(from_disk(top, tmp_path / "cache"), load_data(str(top), image_size=10))


def test_what_is_decoded_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_set, "CHUNK", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    decoded: list[int] = []
    real = disk_set._decode

    def decode(split: disk_set._Split, rows: range) -> None:
        if len(decoded) == 2:
            raise KeyboardInterrupt
        decoded.append(rows.start)
        real(split, rows)

    top = folder(tmp_path)
    monkeypatch.setattr(disk_set, "_decode", decode)
    with pytest.raises(KeyboardInterrupt):
        from_disk(top, tmp_path / "cache")
    later: list[int] = []

    def go_on(split: disk_set._Split, rows: range) -> None:
        later.append(rows.start)
        real(split, rows)

    monkeypatch.setattr(disk_set, "_decode", go_on)
    first = from_disk(top, tmp_path / "cache")
    assert (decoded, later) == ([0, 3], [6, 9, 0, 3, 6, 9])
    assert_same(first, load_data(str(top), image_size=10))
    again = from_disk(top, tmp_path / "cache")
    assert len(later) == 6
    assert again.sha256 == first.sha256


def test_another_image_or_size_is_another_set(tmp_path: Path) -> None:
    top = folder(tmp_path)
    first = from_disk(top, tmp_path / "cache")
    (top / "train/cat/0.png").write_bytes(image_bytes(99, height=20, width=20))
    second = from_disk(top, tmp_path / "cache")
    assert first.sha256 != second.sha256
    assert_same(second, load_data(str(top), image_size=10))


def test_unreadable_images_are_left_out_or_refused(tmp_path: Path) -> None:
    top = folder(tmp_path)
    (top / "train/cat/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png: the image cannot be read"):
        from_disk(top, tmp_path / "cache")
    for _ in range(2):
        disk = from_disk(top, tmp_path / "cache", unreadable="skip")
        memory = load_data(str(top), image_size=10, unreadable="skip")
        assert disk.skipped == 1
        assert disk.train_labels.bincount().tolist() == memory.train_labels.bincount().tolist()
        kept = {
            (image.sum().item(), label.item())
            for image, label in zip(disk.train_images, disk.train_labels, strict=True)
        }
        assert kept == {
            (i.sum().item(), n.item()) for i, n in zip(memory.train_images, memory.train_labels, strict=True)
        }


def test_a_full_disk_is_found_before_the_first_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 29, (1 << 28) + 100))
    with pytest.raises(DataError, match=r"does not fit on the disk .* pass --cache FOLDER elsewhere"):
        from_disk(folder(tmp_path), tmp_path / "cache")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda top: shutil.rmtree(top / "test"), "there is no test folder"),
        (lambda top: shutil.rmtree(top / "test/cat"), "no image in test/cat"),
        (lambda top: shutil.rmtree(top), "only a folder"),
    ],
)
def test_a_folder_of_another_shape_is_refused(tmp_path: Path, spoil: object, told: str) -> None:
    top = folder(tmp_path)
    spoil(top)  # type: ignore[operator]
    with pytest.raises(DataError, match=told):
        from_disk(top, tmp_path / "cache")


def test_a_size_is_needed_and_a_damaged_set_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", small_set())
    with pytest.raises(DataError, match="pass --image-size"):
        load_data(str(tmp_path / "images"), cache=str(tmp_path / "cache"))
    from_disk(tmp_path / "images", tmp_path / "cache")
    (found,) = (tmp_path / "cache").glob("*/train.u8")
    found.write_bytes(b"short")
    with pytest.raises(DataError, match="damaged"):
        from_disk(tmp_path / "images", tmp_path / "cache")
