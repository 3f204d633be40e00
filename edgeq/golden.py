"""``golden.npz``: what the file takes and the exact bytes it gives, for a self-test on the device."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["save_golden"]


def save_golden(path: Path, inputs: NDArray[Any], outputs: NDArray[Any]) -> None:
    """Write ``inputs`` [S, H, W, C] and ``outputs`` [S, classes]; equal arrays give equal bytes (np.savez stamps the
    time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("inputs", inputs), ("outputs", outputs)):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)
