"""Which entries of a weight are equal to which, by symmetry: one form for training, for the codes, and for files.

A symmetry is a grouping of the places of an n x n matrix; tied places hold one value. Over the channels of a kernel it
is the same at each of its places, over its places the same for each pair of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AXES",
    "SYMMETRIES",
    "TIES",
    "Axes",
    "Symmetry",
    "Tie",
    "find_symmetry",
    "independent",
    "is_symmetric",
    "restored",
    "tied_places",
]

Tie = Literal["transpose", "chunks", "blocks", "triangles"]
Axes = Literal["channel", "spatial", "both"]
Codes = NDArray[np.integer[Any]]

AXES: Final[tuple[Axes, ...]] = ("both", "channel", "spatial")
TIES: Final[Mapping[Tie, tuple[int, ...]]] = MappingProxyType(
    {"transpose": (2,), "chunks": (2, 4, 8), "blocks": (4,), "triangles": (4, 8)}
)
"""For each tie the ways there are of it: how many places share a value, but for those that mirror onto themselves."""
Symmetry = tuple[Tie, int, Axes]
SYMMETRIES: Final[tuple[Symmetry, ...]] = (
    *(("triangles", 8, axes) for axes in AXES),
    *(("chunks", 8, axes) for axes in AXES),
    *(("blocks", 4, axes) for axes in AXES),
    *(("chunks", 4, axes) for axes in AXES),
    *(("triangles", 4, axes) for axes in AXES),
    *(("transpose", 2, axes) for axes in AXES),
    *(("chunks", 2, axes) for axes in AXES),
)
"""All there are, those that save most first; a package file names one by its place here."""


def tied_places(shape: tuple[int, ...], tie: Tie, ways: int, axes: Axes) -> NDArray[np.int64] | None:
    """The number of the value at each place of a weight.

    Args:
        shape: of a linear layer's [O, I] or a convolution's weight [O, I, KH, KW].
        tie: ``transpose`` (``w_ij = w_ji``), ``chunks`` (the first rows, repeated), ``blocks`` (mirrored left to right
            and top to bottom), ``triangles`` (mirrored along both diagonals, with 8 ways also left to right).
        ways: of :data:`TIES`.
        axes: what is symmetric: output and input channels, the rows and columns of the kernel, or both.

    Returns:
        Int64 of that shape, from 0, each number in use, their first places in order; None for a weight that cannot have
        the symmetry, because it is not square there or does not divide.
    """
    maps, able = {}, False
    for part, (high, wide) in {"channel": shape[:2], "spatial": shape[2:] or (1, 1)}.items():
        fits = axes in (part, "both") and _fits(high, wide, tie, ways)
        maps[part] = _tied(high, tie, ways) if fits else np.arange(high * wide).reshape(high, wide)
        able |= fits
    if not able:
        return None
    numbers = maps["channel"][:, :, None, None] * maps["spatial"].size + maps["spatial"]
    found: NDArray[np.int64] = np.unique(numbers, return_inverse=True)[1].reshape(shape).astype(np.int64)
    return found


def is_symmetric(codes: Codes, tie: Tie = "transpose", ways: int = 2, axes: Axes = "channel") -> bool:
    """Whether codes [O, I] or [O, I, KH, KW] have a symmetry exactly."""
    places = tied_places(codes.shape, tie, ways, axes)
    if places is None:
        return False
    return bool((restored(independent(codes, places), places) == codes).all())


def find_symmetry(codes: Codes) -> Symmetry | None:
    """The first of :data:`SYMMETRIES` that codes [O, I] or [O, I, KH, KW] have exactly; None for none."""
    kernels = codes.reshape(*codes.shape[:2], *(codes.shape[2:] or (1, 1)))
    for tie, ways, axes in SYMMETRIES:
        parts = [part for part in ((0, 1), (2, 3)) if _fits(kernels.shape[part[0]], kernels.shape[part[1]], tie, ways)]
        wanted = {"channel": [(0, 1)], "spatial": [(2, 3)], "both": [(0, 1), (2, 3)]}[axes]
        if parts and all(part in parts for part in wanted):
            moved = [np.moveaxis(kernels, part, (0, 1)) for part in wanted]
            if all((matrix == mirrored).all() for matrix in moved for mirrored in _mirrored(matrix, tie, ways)):
                return tie, ways, axes
    return None


def independent(codes: Codes, places: NDArray[np.int64]) -> Codes:
    """One code for each group of tied places, in the order of their numbers: int8 [values]."""
    firsts = np.unique(places.reshape(-1), return_index=True)[1]
    found: Codes = codes.reshape(-1)[firsts]
    return found


def restored(values: Codes, places: NDArray[np.int64]) -> Codes:
    """The codes of which :func:`independent` took one each."""
    return values[places]


def _fits(high: int, wide: int, tie: Tie, ways: int) -> bool:
    return high == wide > 1 and not (tie == "chunks" and high % ways)


def _mirrored(matrix: Codes, tie: Tie, ways: int) -> list[Codes]:
    """What a matrix [N, N, ...] is equal to if it has a symmetry: once for each mirror that makes the others."""
    if tie == "chunks":
        return [np.roll(matrix, len(matrix) // ways, 0)]
    if tie == "blocks":
        return [matrix[::-1], matrix[:, ::-1]]
    across = matrix.swapaxes(0, 1)
    if tie == "transpose":
        return [across]
    return [across, matrix[:, ::-1] if ways == 8 else matrix[::-1, ::-1].swapaxes(0, 1)]


def _tied(size: int, tie: Tie, ways: int) -> NDArray[np.int64]:
    """For each place of a size x size matrix a number that the places tied to it have, too."""
    row, column = np.indices((size, size))
    if tie == "chunks":
        return row % (size // ways) * size + column
    mirrors = [(row, column)]
    if tie == "transpose" or tie == "triangles":
        mirrors += [(column, row)]
    if tie == "triangles":
        mirrors += [(size - 1 - j, size - 1 - i) for i, j in mirrors]
    if tie == "blocks":
        mirrors += [(size - 1 - i, j) for i, j in mirrors]
    if tie == "blocks" or ways == 8:
        mirrors += [(i, size - 1 - j) for i, j in mirrors]
    numbers: NDArray[np.int64] = np.min([i * size + j for i, j in mirrors], axis=0)
    return numbers
