"""``golden.bin``: the golden vectors without numpy's and zip's formats, for Kotlin, Java and C."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAGIC", "VERSION", "golden_bytes"]

MAGIC = b"EQGV"
VERSION = 1
_HEADER = struct.Struct("<4s6I")  # magic, version, samples, height, width, channels, classes


def golden_bytes(inputs: NDArray[np.uint8], outputs: NDArray[np.uint8]) -> bytes:
    """The file: a header of 28 bytes, little-endian, then all inputs, then all outputs, a byte a value.

    Args:
        inputs: uint8 [S, H, W, C].
        outputs: uint8 [S, classes].
    """
    header = _HEADER.pack(MAGIC, VERSION, *inputs.shape, outputs.shape[1])
    return header + inputs.tobytes() + outputs.tobytes()
