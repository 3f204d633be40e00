"""One constant by what it is: codes of 2, 4 or 8 bits, a codebook of wider numbers, or their bytes in planes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.compress.symmetry import SYMMETRIES, find_symmetry, independent, tied_places
from edgeq.packing.codes import Coded, read_codes, write_codes
from edgeq.packing.stream import Reader, Writer

__all__ = ["Kind", "read_constant", "write_constant"]

CODES, CODEBOOK, PLANES, ZIGZAG, TIED = range(5)
"""Bytes or parts of bytes; at most 256 different wider numbers; the bytes of numbers apart, the first of all first;
the same of integers whose sign has gone to the lowest bit, so that the high bytes of small ones are zero; codes of a
symmetric weight, one for each group of equal ones."""
MOST_VALUES = 256
PROBE = 1 << 14  # numbers looked at before all of them are sorted


@dataclass(frozen=True, slots=True)
class Kind:
    """What the bytes are.

    Attributes:
        bits: of a number: 2, 4, 8, 16, 32 or 64.
        signed: whether they are integers in two's complement, wider than 8 bits.
        rows: of the matrix they make; 1 where they make none.
        shape: of a weight as TFLite has it, [O, I] or [O, KH, KW, I]; empty for what is none.
    """

    bits: int = 8
    signed: bool = False
    rows: int = 1
    shape: tuple[int, ...] = ()


def write_constant(writer: Writer, content: NDArray[np.uint8], kind: Kind) -> Coded:
    """Write bytes, at least one, whose number the reader knows."""
    if kind.bits <= 8:
        codes = _split(content, kind.bits)
        tied = _write_tied(writer, codes, kind)
        if tied is not None:
            return tied
        writer.number(CODES)
        writer.number(8 // kind.bits)
        return write_codes(writer, codes, 1 if len(codes) % kind.rows else kind.rows)
    numbers = content.view(f"<u{kind.bits // 8}")
    values = np.unique(numbers[:PROBE])
    if len(values) <= MOST_VALUES:
        values, places = np.unique(numbers, return_inverse=True)
        if len(values) <= MOST_VALUES and 2 * len(values) < len(numbers):
            writer.number(CODEBOOK)
            writer.number(kind.bits // 8)
            writer.number(len(values) - 1)
            writer.blob(_planes(values).tobytes())
            return write_codes(writer, places.ravel().astype(np.uint8), kind.rows)
    writer.number(ZIGZAG if kind.signed else PLANES)
    writer.number(kind.bits // 8)
    planes = [write_codes(writer, plane, kind.rows) for plane in _planes(_zigzag(numbers) if kind.signed else numbers)]
    return Coded(0, len(values), planes[0].used)


def read_constant(reader: Reader, size: int) -> NDArray[np.uint8]:
    """Read so many bytes, at least one.

    Raises:
        FormatError: truncated or damaged.
    """
    form, each = reader.number(TIED), reader.number(8)
    if form == TIED and each in (1, 2, 4):
        return _joined(_read_tied(reader, size * each), 8 // each)
    if form == CODES and each in (1, 2, 4):
        return _joined(read_codes(reader, size * each), 8 // each)
    if form == CODES or each not in (2, 4, 8) or size % each:
        raise reader.fail("is damaged: a constant in an unknown form", got=(form, each))
    count = size // each
    if form == CODEBOOK:
        length = reader.number(MOST_VALUES - 1) + 1
        values = _numbers(np.frombuffer(reader.blob(length * each), np.uint8).reshape(each, length))
        places = read_codes(reader, count)
        if places.max() >= length:
            raise reader.fail("is damaged: a codebook is too short", got=length, wanted=int(places.max()) + 1)
        return values[places].view(np.uint8)
    numbers = _numbers(np.stack([read_codes(reader, count) for _ in range(each)]))
    if form == ZIGZAG:
        numbers = numbers >> np.array(1, numbers.dtype) ^ (0 - (numbers & np.array(1, numbers.dtype)))
    return numbers.view(np.uint8)


def _write_tied(writer: Writer, codes: NDArray[np.uint8], kind: Kind) -> Coded | None:
    """Write one code for each group of equal ones; None, and nothing written, for a weight that has no symmetry."""
    shape = kind.shape if len(kind.shape) == 4 else (*kind.shape[:1], 1, 1, *kind.shape[1:])
    if len(shape) != 4 or len(codes) != math.prod(shape) or (codes == codes[0]).all():
        return None
    weight = codes.reshape(shape).transpose(0, 3, 1, 2)
    symmetry = find_symmetry(weight)
    places = None if symmetry is None else tied_places(weight.shape, *symmetry)
    if symmetry is None or places is None:
        return None
    for number in (TIED, 8 // kind.bits, SYMMETRIES.index(symmetry), *weight.shape):
        writer.number(number)
    coded = write_codes(writer, independent(weight, places).astype(np.uint8), 1)
    return dataclasses.replace(coded, tied=symmetry[1])


def _read_tied(reader: Reader, count: int) -> NDArray[np.uint8]:
    symmetry = SYMMETRIES[reader.number(len(SYMMETRIES) - 1)]
    shape = tuple(reader.number(count) for _ in range(4))
    places = tied_places(shape, *symmetry) if math.prod(shape) == count else None
    if places is None:
        raise reader.fail("is damaged: a weight that cannot be symmetric", got=shape, wanted=f"{count} codes")
    values = read_codes(reader, int(places.max()) + 1)
    return np.ascontiguousarray(values[places].transpose(0, 2, 3, 1)).ravel()


def _split(content: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """The codes in each byte, the lowest bits first."""
    if bits == 8:
        return content
    parts = [(content >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=1).ravel()


def _joined(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return codes
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    joined: NDArray[np.uint8] = np.bitwise_or.reduce(codes.reshape(-1, 8 // bits) << shifts, axis=1)
    return joined


def _planes(numbers: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(len(numbers), -1).T)


def _numbers(planes: NDArray[np.uint8]) -> NDArray[np.unsignedinteger]:
    joined: NDArray[np.unsignedinteger] = np.ascontiguousarray(planes.T).view(f"<u{len(planes)}").ravel()
    return joined


def _zigzag(numbers: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    bits = 8 * numbers.dtype.itemsize
    signed = numbers.view(f"<i{bits // 8}")
    turned: NDArray[np.unsignedinteger] = ((signed << 1) ^ (signed >> (bits - 1))).view(numbers.dtype)
    return turned
