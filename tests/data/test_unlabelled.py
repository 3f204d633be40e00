from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_sets import HEIGHT, WIDTH, Listener, image_bytes, pixels, write_folder, write_tar, write_zip

from edgeq.data import load_images
from edgeq.errors import DataError

FILES = {f"{folder}/{number}.png": image_bytes(number) for number, folder in enumerate("cabbca")}
ORDER = [1, 5, 2, 3, 0, 4]
WRITERS = [write_folder, write_zip, write_tar]


@pytest.mark.parametrize("write", WRITERS)
def test_images_come_by_name(tmp_path: Path, write: object) -> None:
    assert callable(write)
    images = load_images(write(tmp_path / "set", FILES | {"notes.txt": b"", ".hidden.png": b""}))
    assert images.is_contiguous()
    assert torch.equal(images, torch.stack([torch.from_numpy(pixels(n)).permute(2, 0, 1) for n in ORDER]))


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("limit", "rows"), [(1, [0]), (3, [0, 2, 4]), (6, range(6)), (99, range(6))])
def test_a_limit_spreads_over_the_folders(tmp_path: Path, write: object, limit: int, rows: list[int]) -> None:
    assert callable(write)
    path = write(tmp_path / "set", FILES)
    assert torch.equal(load_images(path, limit=limit), load_images(path)[list(rows)])


def test_size_and_channels_are_as_asked(tmp_path: Path) -> None:
    path = write_folder(tmp_path, FILES | {"a/large.png": image_bytes(0, height=40, width=30)})
    assert load_images(path, size=(8, 5), channels=1).shape == (7, 1, 8, 5)
    assert load_images(path, image_size=4).shape == (7, 3, 4, 4)
    with pytest.raises(DataError, match=rf"got 30x40, wanted {WIDTH}x{HEIGHT}.*--image-size"):
        load_images(path)


def test_unreadable_images_stop_or_are_left_out(tmp_path: Path) -> None:
    path = write_folder(tmp_path, FILES | {"a/broken.png": b"no"})
    with pytest.raises(DataError, match=r"a/broken\.png"):
        load_images(path)
    listener = Listener()
    assert len(load_images(path, unreadable="skip", progress=listener)) == len(FILES)
    assert "1 unreadable" in listener.warnings[0]


@pytest.mark.parametrize("files", [{}, {"notes.txt": b""}, {"a.png": b"broken"}])
def test_no_images_are_an_error(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match="no readable images"):
        load_images(write_folder(tmp_path, files), unreadable="skip")


@pytest.mark.parametrize("options", [{"channels": 4}, {"limit": 0}, {"size": (0, 4)}, {"image_size": 99999}])
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(DataError, match="wanted"):
        load_images(write_folder(tmp_path, FILES), **options)  # type: ignore[arg-type]
