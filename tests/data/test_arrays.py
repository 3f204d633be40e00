from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeq.data import load_arrays
from edgeq.errors import DataError

SHAPE = (3, 4, 5)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def ramp(count: int = 2, dtype: str = "float32", shape: tuple[int, ...] = SHAPE) -> Any:
    return np.arange(count * int(np.prod(shape))).reshape(count, *shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4"])
@pytest.mark.parametrize("key", ["x", "inputs"])
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_as_float32(tmp_path: Path, dtype: str, key: str, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **{key: ramp(dtype=dtype)})
    loaded = load_arrays(tmp_path / "a.npz", [("x", SHAPE)])
    assert loaded["x"].dtype == np.float32
    assert np.array_equal(loaded["x"], ramp())


def test_several_inputs_go_by_their_names(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", left=ramp(), right=ramp(shape=(7,)), labels=np.arange(2))
    loaded = load_arrays(path, [("right", (7,)), ("left", SHAPE)])
    assert {name: array.shape for name, array in loaded.items()} == {"right": (2, 7), "left": (2, *SHAPE)}


def broken(at: tuple[int, ...], value: float) -> Any:
    array = ramp()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": ramp()}, "missing.*got y, wanted x"),
        ({}, "missing.*got no arrays"),
        ({"x": ramp(0)}, "no samples"),
        ({"x": ramp(shape=(5, 4, 3))}, r"wrong shape.*got \[2, 5, 4, 3\], wanted \[samples, 3, 4, 5\]"),
        ({"x": ramp()[0]}, "wrong shape"),
        ({"x": ramp(dtype="uint8")}, r"wrong type.*got uint8, wanted float32.*astype"),
        ({"x": ramp(dtype="int64")}, "wrong type"),
        ({"x": np.array([{}], object)}, "wrong type"),
        ({"x": broken((1, 0, 0, 0), np.nan)}, r"NaN.*got 1 of 120"),
        ({"x": broken((1, 2, 3, 4), -np.inf)}, "infinite"),
        ({"x": ramp(dtype="float64") * 1e300}, "beyond float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_wrong_with_an_array_is_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_arrays(save(tmp_path / "a.npz", **arrays), [("x", SHAPE)])


def test_inputs_need_equal_numbers_of_samples(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=ramp(2), y=ramp(3))
    with pytest.raises(DataError, match="got x: 2, y: 3"):
        load_arrays(path, [("x", SHAPE), ("y", SHAPE)])


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy((1 << 40, *SHAPE), b"abc"), "truncated"),
        (npy((2, *SHAPE), bytes(479)), "truncated"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "truncated or corrupt"),
        (b"no array", "truncated or corrupt"),
        (b"", "truncated or corrupt"),
    ],
)
def test_a_false_header_is_refused_before_memory_is_taken(tmp_path: Path, content: bytes, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=message):
        load_arrays(tmp_path / "a.npz", [("x", SHAPE)])


def test_more_than_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.data.limits._available_bytes", lambda: 2 * 480 - 1)
    with pytest.raises(DataError, match="does not fit into memory"):
        load_arrays(save(tmp_path / "a.npz", x=ramp()), [("x", SHAPE)])


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz"):
        load_arrays(tmp_path / "a.npz", [("x", SHAPE)])
