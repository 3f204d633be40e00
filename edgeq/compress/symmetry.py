"""Which entries of a weight are equal to which, by symmetry: one form for training, for the codes, and for files.

A symmetry is a grouping of the places of an n x n matrix; tied places hold one value. Over the channels of a kernel it
is the same at each of its places, over its places the same for each pair of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["AXES", "TIES", "Axes", "Tie", "independent", "is_symmetric", "restored", "tied_places"]

Tie = Literal["transpose", "chunks", "blocks", "triangles"]
Axes = Literal["channel", "spatial", "both"]

AXES: Final = get_args(Axes)
TIES: Final[Mapping[Tie, tuple[int, ...]]] = MappingProxyType(
    {"transpose": (2,), "chunks": (2, 4, 8), "blocks": (4,), "triangles": (4, 8)}
)
"""For each tie the ways there are of it: how many places share a value, but for those that mirror onto themselves."""


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
        fits = axes in (part, "both") and high == wide > 1 and not (tie == "chunks" and high % ways)
        maps[part] = _tied(high, tie, ways) if fits else np.arange(high * wide).reshape(high, wide)
        able |= fits
    if not able:
        return None
    numbers = maps["channel"][:, :, None, None] * maps["spatial"].size + maps["spatial"]
    found: NDArray[np.int64] = np.unique(numbers, return_inverse=True)[1].reshape(shape).astype(np.int64)
    return found


def is_symmetric(codes: NDArray[np.int8], tie: Tie = "transpose", ways: int = 2, axes: Axes = "channel") -> bool:
    """Whether codes [O, I] or [O, I, KH, KW] have a symmetry exactly."""
    places = tied_places(codes.shape, tie, ways, axes)
    if places is None:
        return False
    return bool((restored(independent(codes, places), places) == codes).all())


def independent(codes: NDArray[np.int8], places: NDArray[np.int64]) -> NDArray[np.int8]:
    """One code for each group of tied places, in the order of their numbers: int8 [values]."""
    firsts = np.unique(places.reshape(-1), return_index=True)[1]
    found: NDArray[np.int8] = codes.reshape(-1)[firsts]
    return found


def restored(values: NDArray[np.int8], places: NDArray[np.int64]) -> NDArray[np.int8]:
    """The codes of which :func:`independent` took one each."""
    return values[places]


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
