from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from image_sets import (
    HEIGHT,
    WIDTH,
    Listener,
    TarMode,
    image_bytes,
    pixels,
    small_set,
    write_folder,
    write_tar,
    write_zip,
)

import edgeq.data
from edgeq.data import load_data
from edgeq.errors import DataError


def test_all_is_complete_and_sorted() -> None:
    assert edgeq.data.__all__ == sorted(edgeq.data.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(edgeq.data, name) for name in edgeq.data.__all__)


def test_images_come_by_class_and_name_with_their_own_pixels(tmp_path: Path) -> None:
    data = load_data(write_folder(tmp_path / "pets", small_set()))
    assert (data.name, data.classes, data.mirrors, data.skipped) == ("pets", ("cat", "dog"), True, 0)
    assert data.input_shape == (3, HEIGHT, WIDTH)
    assert data.train_labels.tolist() == [0, 0, 1]
    assert data.test_labels.tolist() == [0, 1]
    for image, number in zip(data.train_images, (3, 0, 2), strict=True):
        assert torch.equal(image, torch.from_numpy(pixels(number)).permute(2, 0, 1))


@pytest.mark.parametrize("top", ["", "./", "pets/", "./pets/"])
def test_one_set_has_one_hash_in_every_container(tmp_path: Path, top: str) -> None:
    files = {top + name: content for name, content in small_set().items()}
    wanted = load_data(write_folder(tmp_path / "folder", small_set())).sha256
    paths = [
        write_zip(tmp_path / "stored", files, zipfile.ZIP_STORED),
        write_zip(tmp_path / "deflated", dict(reversed(files.items()))),
    ]
    modes: tuple[TarMode, ...] = ("w", "w:gz", "w:bz2", "w:xz")
    paths += [write_tar(tmp_path / mode.replace(":", "."), files, mode) for mode in modes]
    assert {load_data(path).sha256 for path in paths} == {wanted}


@pytest.mark.parametrize("change", ["pixel", "label", "class"])
def test_another_pixel_label_or_class_name_has_another_hash(tmp_path: Path, change: str) -> None:
    files = small_set()
    before = load_data(write_folder(tmp_path / "before", files)).sha256
    if change == "pixel":
        files["test/cat/y.png"] = image_bytes(9)
    elif change == "label":
        files["train/dog/b.png"] = files.pop("train/cat/b.png")
    else:
        files = {name.replace("dog", "fox"): content for name, content in files.items()}
    assert load_data(write_folder(tmp_path / "after", files)).sha256 != before


def test_hidden_and_other_files_are_passed_over_and_images_elsewhere_are_noted(tmp_path: Path) -> None:
    files = small_set()
    wanted = load_data(write_folder(tmp_path / "plain", files)).sha256
    other = ("train/.hidden/a.png", "train/cat/.a.png", "train/cat/notes.txt", "__MACOSX/train/cat/a.png", "val/a.png")
    files |= dict.fromkeys(other, b"no image")
    listener = Listener()
    assert load_data(write_zip(tmp_path / "set.zip", files), progress=listener).sha256 == wanted
    assert "1 images" in listener.notes[0]
    assert load_data(write_folder(tmp_path / "folder", files)).sha256 == wanted


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_progress_reaches_its_total(tmp_path: Path, container: str) -> None:
    writers: dict[str, Callable[[Path, Mapping[str, bytes]], str]]
    writers = {"folder": write_folder, "zip": write_zip, "tar": write_tar}
    listener = Listener()
    load_data(writers[container](tmp_path / "set", small_set()), progress=listener)
    assert listener.total > 0
    assert listener.done == listener.total or container == "tar"  # a tar's last bytes may be read with its end mark


def test_an_unreadable_image_stops_or_is_counted(tmp_path: Path) -> None:
    files = small_set() | {"train/dog/broken.jpg": image_bytes(1, form="JPEG")[:-200], "train/cat/none.png": b""}
    for path in (write_folder(tmp_path / "folder", files), write_tar(tmp_path / "set.tar.xz", files)):
        with pytest.raises(DataError, match=r"train/(dog/broken\.jpg|cat/none\.png): .*--unreadable skip"):
            load_data(path)
        listener = Listener()
        data = load_data(path, unreadable="skip", progress=listener)
        assert (data.skipped, len(data.train_images)) == (2, 3)
        assert "2 unreadable" in listener.warnings[0]


def test_images_of_two_sizes_need_image_size(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", small_set() | {"train/dog/z.png": image_bytes(1, height=12, width=8)})
    with pytest.raises(DataError, match=rf"z\.png: .*got 8x12, wanted {WIDTH}x{HEIGHT}.*--image-size"):
        load_data(path)
    assert load_data(path, image_size=5).input_shape == (3, 5, 5)


def test_a_wide_image_is_cropped_around_its_centre(tmp_path: Path) -> None:
    data = load_data(write_folder(tmp_path / "set", small_set()), image_size=HEIGHT)
    left = (WIDTH - HEIGHT) / 2
    wanted = pixels(3)[:, int(left) : int(left) + HEIGHT + 1].astype(float)
    wanted = (wanted[:, :-1] + wanted[:, 1:]) / 2 if left % 1 else wanted[:, :-1]  # the crop begins between two pixels
    got = data.train_images[0].permute(1, 2, 0).numpy().astype(float)
    inner = abs(got - wanted)[:, 1:-1]
    smooth = (
        abs(wanted[:, 1:-1] - wanted[:, :-2]) + abs(wanted[:, 2:] - wanted[:, 1:-1]) < 20
    )  # away from the wrap at 256
    assert inner[smooth].max() <= 1  # a rounding of half a grey level


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        (["test/cat/y.png", "test/dog/x.png"], {}, "no test folder"),
        (["train/cat/a.png", "train/cat/b.png", "train/dog/a.png"], {}, "no train folder"),
        (["test/dog/x.png"], {}, "no test/dog"),
        (["test/dog/x.png"], {"test/dog/readme.txt": b"", "test/dog/y.png": b""}, "no readable image.*test/dog"),
        ([], {"train/stray.png": image_bytes(0)}, "outside a class folder"),
        ([], {"data_batch_1": b"x"}, "pickle"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, remove: list[str], add: dict[str, bytes], message: str) -> None:
    files = {name: content for name, content in small_set().items() if name not in remove} | add
    with pytest.raises(DataError, match=message):
        load_data(write_folder(tmp_path / "set", files), unreadable="skip")


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", small_set())
    for split in ("train", "test"):
        (tmp_path / "set" / split / "emu").mkdir()
    with pytest.raises(DataError, match=r"no readable image.*train/emu"):
        load_data(path)


def test_two_top_folders_are_refused(tmp_path: Path) -> None:
    files = {f"{top}/{name}": content for top in ("a", "b") for name, content in small_set().items()}
    with pytest.raises(DataError, match=r"several top folders.*got a, b"):
        load_data(write_folder(tmp_path / "set", files))


def test_a_class_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    files = {name.replace("dog", "do\ng"): content for name, content in small_set().items()}
    for path in (write_folder(tmp_path / "folder", files), write_tar(tmp_path / "set.tar", files, "w")):
        with pytest.raises(DataError, match="control character") as caught:
            load_data(path)
        assert "\n" not in str(caught.value)


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "set", small_set())
    (tmp_path / "set/train/cat/again").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match="too deep"):
        load_data(path)


@pytest.mark.parametrize("name", ["missing", "text.zip"])
def test_what_is_no_data_set_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(DataError, match=r"wanted .*folder, a \.zip"):
        load_data(str(tmp_path / name))


def test_more_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.data.limits._available_bytes", lambda: 3 * HEIGHT * WIDTH * 2)
    for write in (write_folder, write_tar):
        with pytest.raises(DataError, match=r"does not fit into memory.*--image-size"):
            load_data(write(tmp_path / write.__name__, small_set()))


@pytest.fixture(scope="module")
def digits() -> edgeq.data.ImageData:
    return load_data("digits")


def test_digits_are_all_there_and_split_by_class(digits: edgeq.data.ImageData) -> None:
    assert digits.input_shape == (3, 32, 32)
    assert len(digits.train_images) + len(digits.test_images) == 1797
    assert not digits.mirrors
    per_class = torch.bincount(torch.cat([digits.train_labels, digits.test_labels]))
    share = torch.bincount(digits.test_labels) / per_class
    assert (abs(share - 0.2) < 0.01).all()


def test_digits_are_the_pixels_of_scikit_learn(digits: edgeq.data.ImageData) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.cat([digits.train_images, digits.test_images])
    assert torch.equal(images[:, 0], images[:, 2])
    # Each corner of the enlarged image is the corner pixel of the small one; sums of all agree with the originals.
    got = sorted(map(tuple, images[:, 0, ::31, ::31].flatten(1).tolist()))
    wanted = sorted(map(tuple, (bunch.images[:, ::7, ::7] * (255 / 16)).round().astype(int).reshape(-1, 4).tolist()))
    assert got == wanted


def test_digits_are_the_same_whatever_the_random_state(digits: edgeq.data.ImageData) -> None:
    torch.manual_seed(5)
    assert load_data("digits").sha256 == digits.sha256


def test_digits_scale_to_another_size(digits: edgeq.data.ImageData) -> None:
    small = load_data("digits", image_size=16)
    assert small.input_shape == (3, 16, 16)
    assert abs(small.test_images.float().mean() - digits.test_images.float().mean()) < 1
