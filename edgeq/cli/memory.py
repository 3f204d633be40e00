"""How this process gets its memory: a command owns its process, so it may say; the library never does."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["keep_freed_memory"]

# mallopt's parameters, from malloc.h, and their values: in bytes, as an int.
TRIM_THRESHOLD: Final = (-1, 2**31 - 1)
TOP_PAD: Final = (-2, 2**28)
MMAP_THRESHOLD: Final = (-3, 2**30)


def keep_freed_memory() -> None:
    """Let glibc's malloc keep what is freed: each step of a training asks for the same tensors again.

    By default malloc hands large blocks back to the system and gets them anew page by page, zeroed: 14,000 page faults
    a step of ResNet-20 at batch 128, a tenth of the time of one core. Does nothing with another C library, or where
    the environment has settings of its own (``MALLOC_TRIM_THRESHOLD_`` and its kind).
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ:
        return
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        return
    library = ctypes.CDLL(None)
    for parameter, value in (MMAP_THRESHOLD, TRIM_THRESHOLD, TOP_PAD):
        library.mallopt(parameter, value)
