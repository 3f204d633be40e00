from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeq import golden
from edgeq.errors import FormatError
from edgeq.golden import load_golden, save_golden

INPUTS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
OUTPUTS = np.random.default_rng(1).integers(0, 256, (3, 2), np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "golden.npz"


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_numpy_reads_what_is_saved(path: Path) -> None:
    save_golden(path, INPUTS, OUTPUTS)
    with np.load(path) as arrays:
        assert sorted(arrays) == ["inputs", "outputs"]
        np.testing.assert_array_equal(arrays["inputs"], INPUTS)
        np.testing.assert_array_equal(arrays["outputs"], OUTPUTS)


def test_equal_arrays_give_equal_bytes(path: Path) -> None:
    save_golden(path, INPUTS, OUTPUTS)
    first = path.read_bytes()
    save_golden(path, INPUTS.copy(), OUTPUTS.copy())
    assert path.read_bytes() == first


@pytest.mark.parametrize("outputs", [OUTPUTS, np.asfortranarray(OUTPUTS), OUTPUTS.astype(np.float32), OUTPUTS[:0]])
def test_what_numpy_saves_is_read(path: Path, outputs: NDArray[Any]) -> None:
    np.savez_compressed(path, inputs=INPUTS, outputs=outputs)
    inputs, found = load_golden(path)
    np.testing.assert_array_equal(inputs, INPUTS)
    np.testing.assert_array_equal(found, outputs)
    assert found.dtype == outputs.dtype


@pytest.mark.parametrize(
    "outputs",
    [
        b"",
        npy(OUTPUTS)[:-1],
        npy(OUTPUTS)[:20],
        npy(OUTPUTS).replace(b"(3, 2), }", b"(3, 2, (({"),
        npy(OUTPUTS).replace(b"(3, 2), }" + b" " * 7, b"(3000000000,), }"),  # what it claims must take no memory
        npy(np.array([{}], dtype=object)),
    ],
)
def test_a_damaged_array_is_refused(path: Path, outputs: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", npy(INPUTS))
        archive.writestr("outputs.npy", outputs)
    with pytest.raises(FormatError, match="no readable golden vectors"):
        load_golden(path)


def test_a_file_that_is_missing_or_no_zip_is_refused(path: Path) -> None:
    for content in (None, b"", b"PK", npy(INPUTS)):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FormatError, match="no readable golden vectors"):
            load_golden(path)


def test_a_missing_array_is_named(path: Path) -> None:
    np.savez(path, inputs=INPUTS)
    with pytest.raises(FormatError, match=r"outputs\.npy"):
        load_golden(path)


def test_the_size_is_checked_before_anything_is_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_golden(path, INPUTS, OUTPUTS)
    monkeypatch.setattr(golden, "MAX_BYTES", 100)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(FormatError, match="too large for golden vectors"):
        load_golden(path)
