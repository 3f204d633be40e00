from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_sets import write_folder, write_tar, write_zip

from edgeq.data import load_data
from edgeq.data.plain_pickle import load_plain_pickle
from edgeq.errors import DataError

NAMES = ("cat", "dog", "emu")
PIXELS = 3 * 32 * 32


def batch(seed: int, count: int = 4) -> tuple[Any, list[int]]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, PIXELS), np.uint8), generator.integers(0, 3, count).tolist()


def binary_set() -> dict[str, bytes]:
    files = {"batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode()}
    for seed, name in enumerate(("test_batch", "data_batch_2", "data_batch_1")):
        pixels, labels = batch(seed)
        files[f"{name}.bin"] = b"".join(
            bytes([label]) + row.tobytes() for row, label in zip(pixels, labels, strict=True)
        )
    return files


def python2_pickle(pixels: Any, labels: list[int], *, numpy: bytes = b"numpy.core.multiarray") -> bytes:
    """What Python 2's cPickle wrote into CIFAR-10's batches, opcode by opcode (the layout of the published files)."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    array = b"c" + numpy + b"\n_reconstruct\nq\x01(cnumpy\nndarray\nq\x02K\x00\x85" + text(b"b") + b"tRq\x03"
    dtype = b"cnumpy\ndtype\nq\x04" + text(b"u1") + b"K\x00K\x01\x87Rq\x05(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    content: bytes = pixels.tobytes()
    state = b"(K\x01(" + b"".join(b"M" + struct.pack("<H", side) for side in pixels.shape) + b"t" + dtype + b"\x89"
    state += b"T" + struct.pack("<i", len(content)) + content + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + listed + b"u."


def python_set(dump: Callable[[Any, list[int]], bytes]) -> dict[str, bytes]:
    files = {"batches.meta": pickle.dumps({"label_names": list(NAMES)}, 2), "readme.html": b"<html>"}
    for seed, name in enumerate(("test_batch", "data_batch_2", "data_batch_1")):
        files[name] = dump(*batch(seed))
    return files


def dumped(protocol: int, pixels: Any, labels: list[int]) -> bytes:
    return pickle.dumps(
        {b"data": pixels, b"labels": labels, b"filenames": [b"a.png"], b"batch_label": b"one"}, protocol
    )


DUMPS: dict[str, Callable[[Any, list[int]], bytes]] = {
    "python 2": python2_pickle,
    "python 2, numpy 2": lambda pixels, labels: python2_pickle(pixels, labels, numpy=b"numpy._core.multiarray"),
    **{f"protocol {n}": partial(dumped, n) for n in (0, 2, 3, 4)},
}


def test_binary_batches_hold_their_pixels_in_order(tmp_path: Path) -> None:
    data = load_data(write_folder(tmp_path / "cifar", binary_set()))
    assert data.classes == NAMES
    pixels, labels = zip(batch(2), batch(1), strict=True)
    assert np.array_equal(data.train_images.numpy().reshape(-1, PIXELS), np.concatenate(pixels))
    assert data.train_labels.tolist() == [*labels[0], *labels[1]]
    assert np.array_equal(data.test_images.numpy().reshape(-1, PIXELS), batch(0)[0])


@pytest.mark.parametrize("form", DUMPS)
def test_python_batches_of_each_age_equal_the_binary_ones(tmp_path: Path, form: str) -> None:
    wanted = load_data(write_folder(tmp_path / "binary", binary_set())).sha256
    files = {f"cifar-10-batches-py/{name}": content for name, content in python_set(DUMPS[form]).items()}
    assert load_data(write_tar(tmp_path / "cifar-10-python.tar.gz", files, "w:gz")).sha256 == wanted
    assert load_data(write_zip(tmp_path / "cifar.zip", files)).sha256 == wanted


def test_cifar_scales_to_another_size(tmp_path: Path) -> None:
    assert load_data(write_folder(tmp_path / "cifar", binary_set()), image_size=24).input_shape == (3, 24, 24)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_1.bin", None, "training batches are missing.*got 2"),
        ("test_batch.bin", None, "test_batch is missing"),
        ("batches.meta.txt", None, "batches.meta is missing"),
        ("batches.meta.txt", b"cat\ndog\n", "a label without a class"),
        ("batches.meta.txt", b"cat\ncat\ndog\n", "same name"),
        ("test_batch.bin", bytes(3074), r"test_batch\.bin.*truncated.*got 3074"),
        ("test_batch.bin", b"", "truncated"),
        ("sub/test_batch.bin", bytes(3073), "is there twice"),
        ("test_batch", dumped(2, *batch(0)), "twice|mixed"),
        ("train/cat/a.ppm", b"P6 1 1 255 abc", "mixed"),
    ],
)
def test_what_is_wrong_with_batches_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    files = binary_set()
    if content is None:
        del files[name]
    else:
        files[name] = content
    with pytest.raises(DataError, match=message):
        load_data(write_folder(tmp_path / "cifar", files))


@pytest.mark.parametrize(
    "changed",
    [
        {"data": np.zeros((4, PIXELS), np.int64)},
        {"data": np.zeros((4, 7), np.uint8)},
        {"data": [1, 2]},
        {"labels": [0, 1]},
        {"labels": [0, 1, 2, -1]},
        {"labels": ["cat"] * 4},
        {"labels": None},
    ],
)
def test_a_python_batch_of_the_wrong_form_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    pixels, labels = batch(0)
    files = python_set(DUMPS["protocol 2"])
    files["test_batch"] = pickle.dumps({"data": pixels, "labels": labels} | changed, 2)
    with pytest.raises(DataError, match=r"test_batch: .*not as it should be"):
        load_data(write_folder(tmp_path / "cifar", files))


class Calls:
    """Pickles to a call of anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Calls(os.system, "touch hacked"), "system"),
        (Calls(eval, "open('hacked', 'w')"), "eval"),
        (Calls(getattr, "a", "upper"), "getattr"),
        (Calls(np.load, "x"), "load"),
        (Calls(np.zeros, (1 << 40,)), "zeros"),
        (Calls(bytearray, 1 << 40), "bytearray"),
    ],
)
def test_a_pickle_that_calls_something_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, call: Calls, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    files = python_set(DUMPS["protocol 2"])
    files["data_batch_1"] = pickle.dumps({"data": call}, protocol)
    with pytest.raises(DataError, match=rf"data_batch_1: the pickle asks for code .*{name}"):
        load_data(write_folder(tmp_path / "cifar", files))
    assert not (tmp_path / "hacked").exists()


def reconstruct(kind: bytes = b"cnumpy\nndarray\n", shape: bytes = b"K\x00\x85", state: bytes = b"") -> bytes:
    return b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(" + kind + shape + b"U\x01btR" + state + b"s."


DTYPE_U1 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"

HOSTILE: dict[str, bytes] = {
    "object array": pickle.dumps({"a": np.array([{}, []], object)}, 2),
    "structured array": pickle.dumps({"a": np.zeros(2, "u1,u1")}, 2),
    "float array": pickle.dumps({"a": np.zeros(2)}, 2),
    "foreign array type": reconstruct(kind=b"cnumpy\ndtype\n"),
    "more shape than bytes": reconstruct(state=b"(K\x01J\xff\xff\xff\x7f\x85" + DTYPE_U1 + b"\x89U\x02abtb"),
    "negative shape": reconstruct(state=b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE_U1 + b"\x89U\x02abtb"),
    "no bytes": reconstruct(state=b"(K\x01K\x02\x85" + DTYPE_U1 + b"\x89]tb"),
    "a dtype of text": reconstruct(state=b"(K\x01K\x02\x85U\x02u1\x89U\x02abtb"),
    "state for a global": b"\x80\x02}U\x01acnumpy\ndtype\n}U\x08__call__K\x01sbs.",
    "memo far out": b"\x80\x02}r\xff\xff\xff\x7f.",
    "text memo far out": b"}p99999999999\n.",
    "persistent id": b"\x80\x02U\x01aQ.",
    "new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "a tuple in a tuple in a": b"\x80\x02}(" + b")" + b"\x85" * 200_000 + b"K\x01u.",
    "bytes longer than the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"ab.",
    "other encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-7\x86R.",
    "no dictionary": pickle.dumps([1], 2),
    "a key that is no text": pickle.dumps({1: 2}, 2),
    "empty": b"",
    "text": b"hello",
    "truncated": dumped(2, *batch(0))[:-100],
}


@pytest.mark.parametrize("form", HOSTILE)
def test_a_hostile_pickle_is_refused(form: str) -> None:
    with pytest.raises(DataError, match="batch: "):
        load_plain_pickle(HOSTILE[form], "batch")


@given(st.dictionaries(st.text("abc"), st.recursive(st.integers() | st.text() | st.none(), st.lists, max_leaves=9)))
@settings(max_examples=50, deadline=None)
def test_plain_data_comes_back(plain: dict[str, Any]) -> None:
    for protocol in (2, 4):
        assert load_plain_pickle(pickle.dumps(plain, protocol), "plain") == plain


@given(
    st.sampled_from(["|u1", "<i2", "<i8", ">i4", "|b1"]), st.sampled_from("CF"), st.integers(0, 3), st.integers(0, 4)
)
@settings(max_examples=50, deadline=None)
def test_integer_arrays_come_back(dtype: str, order: str, rows: int, columns: int) -> None:
    array = np.asarray(np.arange(rows * columns).reshape(rows, columns), dtype, order="F" if order == "F" else "C")
    for protocol in (0, 2, 4):
        buffer = io.BytesIO()
        pickle.Pickler(buffer, protocol).dump({"a": array})
        loaded = load_plain_pickle(buffer.getvalue(), "array")["a"]
        assert np.array_equal(loaded, array)
        assert loaded.dtype == array.dtype
