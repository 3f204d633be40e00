"""Calibration sets in ``.npz`` files, for networks whose inputs are no images or not only images."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgeq.data.limits import MAX_TOTAL_BYTES, require_memory
from edgeq.data.members import shown
from edgeq.data.zip_archive import open_zip
from edgeq.errors import DataError

__all__ = ["load_arrays", "require_arrays"]

_FLOATS = ("float32", "float64")
_SINGLE = "inputs"
_MEMORY = "the calibration data"


def load_arrays(path: Path, names_and_shapes: Sequence[tuple[str, tuple[int, ...]]]) -> dict[str, NDArray[np.float32]]:
    """Load one array an input, samples first.

    Args:
        path: a file of ``numpy.savez`` or ``savez_compressed``. Other arrays in it are passed over.
        names_and_shapes: each input's name and the shape of one sample, without the batch dimension. Where there is
            one input, the key ``inputs`` is accepted for it.

    Returns:
        For each input name float32 [S, *shape], in the file's units, the same S for all; float64 is cast.

    Raises:
        DataError: no .npz, an array is missing, empty, of another shape or type, or has NaN or infinite values.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    with open_zip(path) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for name, shape in names_and_shapes:
            key = _SINGLE if name not in infos and len(names_and_shapes) == 1 else name
            if key not in infos:
                got = ", ".join(shown(key) for key in sorted(infos)[:8]) or "no arrays"
                raise DataError("an input's array is missing", where=path, got=got, wanted=name)
            arrays[name] = _load(archive, infos[key], shape, f"{path}: {key}")
    _check_counts(arrays, str(path))
    return arrays


def require_arrays(
    given: NDArray[Any] | Mapping[str, NDArray[Any]], names_and_shapes: Sequence[tuple[str, tuple[int, ...]]]
) -> dict[str, NDArray[np.float32]]:
    """Arrays in memory, held to what :func:`load_arrays` demands of a file.

    Args:
        given: an array by input name, or that of a single input alone; a torch tensor is an array, too.
        names_and_shapes: each input's name and the shape of one sample, without the batch dimension.

    Returns:
        For each input name float32 [S, *shape], the same S for all.

    Raises:
        DataError: an array is missing, empty, of another shape or type, or has NaN or infinite values.
    """
    single = names_and_shapes[0][0] if len(names_and_shapes) == 1 else ""
    table = given if isinstance(given, Mapping) else {single or "the array": given}
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, shape in names_and_shapes:
        key = _SINGLE if name not in table and name == single else name
        if key not in table:
            got = ", ".join(shown(str(key)) for key in sorted(table)[:8]) or "no arrays"
            raise DataError("an input's array is missing", where=_MEMORY, got=got, wanted=name)
        array, where = np.asarray(table[key]), f"{_MEMORY}: {key}"
        _check_kind(array.shape, array.dtype, shape, where)
        arrays[name] = _finite(array, where)
    _check_counts(arrays, _MEMORY)
    return arrays


def _check_counts(arrays: Mapping[str, NDArray[np.float32]], where: str) -> None:
    samples = {name: len(array) for name, array in arrays.items()}
    if len(set(samples.values())) > 1:
        got = ", ".join(f"{name}: {count}" for name, count in samples.items())
        raise DataError("the inputs have different numbers of samples", where=where, got=got)


def _load(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    try:
        with archive.open(info) as stream:
            _check_header(stream, info.file_size, shape, where)
        with archive.open(info) as stream:
            loaded = np.lib.format.read_array(stream, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, EOFError, ValueError from numpy's header reader
        raise DataError("the array is truncated or corrupt", where=where, got=shown(str(error))) from error
    return _finite(loaded, where)


def _finite(values: NDArray[Any], where: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if bad := array.size - int(np.count_nonzero(np.isfinite(array))):
        got = f"{bad} of {array.size}"
        raise DataError("values are NaN, infinite or beyond float32", where=where, got=got, wanted="finite numbers")
    return array


def _check_header(stream: IO[bytes], file_bytes: int, shape: tuple[int, ...], where: str) -> None:
    """What the .npy header declares, against what was asked for and what memory there is."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f".npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    declared, _, dtype = read(stream)
    _check_kind(declared, dtype, shape, where)
    size_bytes = math.prod(declared) * dtype.itemsize
    if size_bytes > min(file_bytes, MAX_TOTAL_BYTES):
        raise DataError("the array is truncated", where=where, got=f"{file_bytes} bytes", wanted=f"{size_bytes} bytes")
    require_memory(2 * size_bytes, where=where, remedy="give fewer samples")


def _check_kind(declared: tuple[int, ...], dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> None:
    """Type and shape, and that there is a sample."""
    if dtype.name not in _FLOATS:
        raise DataError(
            "the array is of the wrong type",
            where=where,
            got=dtype,
            wanted="float32",
            remedy="save with .astype('float32')",
        )
    if len(declared) != len(shape) + 1 or declared[1:] != shape:
        wanted = f"[samples, {', '.join(map(str, shape))}]"
        raise DataError("the array is of the wrong shape", where=where, got=list(declared), wanted=wanted)
    if not math.prod(declared):
        raise DataError("there are no samples", where=where, got=list(declared))
