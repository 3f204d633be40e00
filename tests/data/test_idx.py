from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from image_sets import image_bytes, write_folder, write_tar

from edgeq.data import load_data
from edgeq.errors import DataError

TRAIN = "train-images-idx3-ubyte"


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def arrays() -> dict[str, np.ndarray]:
    """Sides that differ, and a class that only the test has."""
    generator = np.random.default_rng(0)
    return {
        TRAIN: generator.integers(0, 256, (6, 5, 7), np.uint8),
        "train-labels-idx1-ubyte": np.array([0, 1, 2, 2, 1, 0], np.uint8),
        "t10k-images-idx3-ubyte": generator.integers(0, 256, (3, 5, 7), np.uint8),
        "t10k-labels-idx1-ubyte": np.array([3, 0, 1], np.uint8),
    }


def files() -> dict[str, bytes]:
    return {name: idx(array) for name, array in arrays().items()}


@pytest.mark.parametrize("form", ["plain", "gzip", "nested tar", "both", "dotted"])
def test_images_and_labels_come_out_as_they_went_in(tmp_path: Path, form: str) -> None:
    found = files()
    if form == "plain":
        path = write_folder(tmp_path / "mnist", found)
    elif form == "dotted":
        path = write_folder(tmp_path, {name.replace("-idx", ".idx"): content for name, content in found.items()})
    elif form == "nested tar":
        path = write_tar(tmp_path / "m.tar.xz", {f"MNIST/raw/{name}": content for name, content in found.items()})
    else:
        zipped = {f"emnist-digits-{name}.gz": gzip.compress(content) for name, content in found.items()}
        path = write_folder(tmp_path, zipped | (found if form == "both" else {}))
    data = load_data(path)
    wanted = arrays()
    assert data.input_shape == (1, 5, 7)
    assert data.classes == ("0", "1", "2", "3")
    assert not data.mirrors
    assert np.array_equal(data.train_images[:, 0].numpy(), wanted[TRAIN])
    assert np.array_equal(data.test_images[:, 0].numpy(), wanted["t10k-images-idx3-ubyte"])
    assert data.train_labels.tolist() == [0, 1, 2, 2, 1, 0]
    assert data.test_labels.tolist() == [3, 0, 1]


def changed(content: bytes | None, name: str = TRAIN) -> dict[str, bytes]:
    """The set with another file of training images, or without."""
    found = files()
    del found[TRAIN]
    return found if content is None else found | {name: content}


WHOLE = files()[TRAIN]
BOMB = gzip.compress(WHOLE[:16] + bytes(70 << 20))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(None), "the images for train are missing.*wanted train-images-idx3-ubyte"),
        (changed(b""), "no IDX file of this kind.*got nothing"),
        (changed(WHOLE[:14]), "no IDX file of this kind"),
        (changed(b"\0\0\x0d\x03" + WHOLE[4:]), "got 00000d03, wanted 00000803"),
        (changed(files()["train-labels-idx1-ubyte"]), "got 00000801, wanted 00000803"),
        (changed(WHOLE[:-1]), r"truncated or too long.*got 209 bytes of values, wanted 210 for \[6, 5, 7\]"),
        (changed(WHOLE + b"\0"), "truncated or too long"),
        (changed(WHOLE[:4] + b"\xff" * 12 + WHOLE[16:]), "truncated or too long"),
        (changed(gzip.compress(WHOLE)[:-9], f"{TRAIN}.gz"), "gzip file is truncated"),
        (changed(gzip.compress(WHOLE)[:20] + b"\0" * 30, f"{TRAIN}.gz"), "gzip file is (corrupt|truncated)"),
        (changed(BOMB, f"{TRAIN}.gz"), "too large when unpacked"),
        (files() | {"train-images.idx3-ubyte": WHOLE[:-1] + b"\0"}, "two different files of train images"),
        (files() | {"train-labels-idx1-ubyte": idx(np.zeros(5, np.uint8))}, "labels of the wrong kind"),
        (files() | {"train/cat/a.png": image_bytes(0)}, "are mixed"),
    ],
)
def test_what_is_no_whole_set_is_told(tmp_path: Path, found: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(write_folder(tmp_path, found))
