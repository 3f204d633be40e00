"""``golden.npz``: what the file takes and the exact bytes it gives, for a self-test on the device."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError

__all__ = ["load_golden", "save_golden"]

MAX_BYTES = 1 << 28
NAMES = ("inputs", "outputs")


def save_golden(path: Path, inputs: NDArray[Any], outputs: NDArray[Any]) -> None:
    """Write ``inputs`` [S, H, W, C] and ``outputs`` [S, classes]; equal arrays give equal bytes (np.savez stamps the
    time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in zip(NAMES, (inputs, outputs), strict=True):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def load_golden(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The inputs and outputs of a ``golden.npz``, of whatever shape and type; their sizes are checked before they are
    read. Whether they are of some model is the caller's to check.

    Raises:
        FormatError: unreadable, damaged or larger than 256 MiB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [archive.getinfo(f"{name}.npy") for name in NAMES]
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise FormatError("is too large for golden vectors", where=path, wanted=f"{MAX_BYTES} bytes")
            inputs, outputs = (_array(archive.read(member)) for member in members)
    except FormatError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, KeyError, and whatever numpy's header reader raises
        raise FormatError("no readable golden vectors", where=path, got=error) from error
    return inputs, outputs


def _array(content: bytes) -> NDArray[Any]:
    """An array out of its .npy file; what its header claims takes no memory."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f".npy version {version}")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    array: NDArray[Any] = np.frombuffer(content, dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")
