"""The codes of one constant: a codebook of the values that occur, and for each place which; dense, or as the places
that differ from the most frequent value (zero in a pruned layer) with relative indices.

Source: Han et al. 2016, arXiv:1510.00149, sections 2 to 4 and figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.packing.stream import Reader, Writer
from edgeq.packing.symbols import estimated_bits, read_symbols, write_symbols

__all__ = ["Coded", "read_codes", "write_codes"]

INDEX_BITS = (4, 5, 8)
"""Widths of a relative index; 0 in a file stands for dense."""
CROPPED, TRANSPOSED = 16, 32
"""Added to the width: rows and columns that hold nothing else than the background are left out; columns come first."""

Symbols = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Coded:
    """How codes were written: ``dense`` or ``sparse``, bits of a relative index, values in use, places in use.

    ``tied`` is how many places share a code in most of a symmetric weight, of which one code each is written.
    """

    index_bits: int
    distinct: int
    used: int
    tied: int = 1

    @property
    def words(self) -> str:
        words = f"relative indices of {self.index_bits} bits" if self.index_bits else "dense"
        return f"{words}, one code for {self.tied} tied" if self.tied > 1 else words


def write_codes(writer: Writer, codes: Symbols, rows: int) -> Coded:
    """Write codes whose number the reader knows.

    Args:
        writer: appended to.
        codes: bytes, at least one.
        rows: of the matrix that they make; divides their number.
    """
    counts = np.bincount(codes, minlength=256)
    values = np.flatnonzero(counts)
    if 2 * len(values) > len(codes):
        values = np.arange(256)  # a codebook would not pay
    _write_values(writer, values)
    places = np.zeros(256, np.uint8)
    places[values] = np.arange(len(values))
    symbols = places[codes]
    background = int(np.argmax(counts[values]))
    used = len(codes) - int(counts.max())
    if len(values) == 1:
        return Coded(0, 1, used)
    form, streams = _best(symbols.reshape(rows, -1), background, len(values))
    writer.number(form)
    writer.number(background)
    if form & CROPPED:
        matrix = symbols.reshape(rows, -1) != background
        writer.number(rows)
        writer.blob(np.packbits(matrix.any(axis=1)).tobytes())
        writer.blob(np.packbits(matrix.any(axis=0)).tobytes())
    elif form & TRANSPOSED:
        writer.number(rows)
    if form & 15:
        writer.number(len(streams[0][0]))
    for stream, alphabet in streams:
        write_symbols(writer, stream, alphabet)
    return Coded(form & 15, len(values), used)


def read_codes(reader: Reader, count: int) -> Symbols:
    """Read so many codes, at least one.

    Raises:
        FormatError: truncated or damaged.
    """
    values = _read_values(reader)
    if len(values) == 1:
        return np.full(count, values[0])
    form = reader.number(TRANSPOSED | CROPPED | 15)
    background = reader.number(len(values) - 1)
    symbols = np.full(count, background, np.uint8)
    rows = reader.number(count) if form & (CROPPED | TRANSPOSED) else 1
    if form & 15 not in (0, *INDEX_BITS) or rows < 1 or count % rows:
        raise reader.fail("is damaged: codes in an unknown form", got=form)
    matrix = symbols.reshape(rows, -1)
    live = [np.ones(size, bool) for size in matrix.shape]
    if form & CROPPED:
        live = [_read_mask(reader, size) for size in matrix.shape]
    shape = (int(live[0].sum()), int(live[1].sum()))
    size = shape[0] * shape[1]
    width = form & 15
    inner = (
        _read_sparse(reader, size, width, background, len(values)) if width else read_symbols(reader, size, len(values))
    )
    matrix[np.ix_(*live)] = inner.reshape(shape[::-1]).T if form & TRANSPOSED else inner.reshape(shape)
    return values[symbols]


def _best(matrix: Symbols, background: int, alphabet: int) -> tuple[int, list[tuple[Symbols, int]]]:
    """The form that is estimated to be smallest, and its streams with their alphabets."""
    used = matrix != background
    live = np.ix_(used.any(axis=1), used.any(axis=0))
    cropped = matrix[live]
    arrangements = {0: matrix}
    saved = matrix.size - cropped.size
    if saved:
        arrangements[CROPPED] = cropped
    if 2 * np.count_nonzero(used) < matrix.size and min(matrix.shape) > 1:  # in a dense form it makes no difference
        arrangements |= {form | TRANSPOSED: part.T for form, part in arrangements.items()}
    best, smallest = (0, [(matrix.ravel(), alphabet)]), float("inf")
    for form, part in arrangements.items():
        flat = part.ravel()
        side = sum(matrix.shape) + 16 if form & CROPPED else 0
        for width in (0, *INDEX_BITS):
            if (width and 2 * np.count_nonzero(used) > matrix.size) or (not width and form & TRANSPOSED):
                continue
            streams = _sparse(flat, background, width, alphabet) if width else [(flat, alphabet)]
            bits = side + sum(estimated_bits(stream, size) for stream, size in streams)
            if bits < smallest:
                best, smallest = (form | width, streams), bits
    return best


def _sparse(symbols: Symbols, background: int, width: int, alphabet: int) -> list[tuple[Symbols, int]]:
    """Relative indices, and the symbols there; a gap that an index cannot tell is bridged by a filler."""
    places = np.flatnonzero(symbols != background)
    gaps = np.diff(places, prepend=-1) - 1
    ends = np.cumsum((gaps >> width) + 1) - 1
    count = int(ends[-1]) + 1 if len(ends) else 0
    indices = np.full(count, (1 << width) - 1, np.uint8)
    indices[ends] = gaps & ((1 << width) - 1)
    found = np.full(count, background, np.uint8)
    found[ends] = symbols[places]
    return [(indices, 1 << width), (found, alphabet)]


def _read_sparse(reader: Reader, size: int, width: int, background: int, alphabet: int) -> Symbols:
    count = reader.number(size)
    indices = read_symbols(reader, count, 1 << width)
    found = read_symbols(reader, count, alphabet)
    places = np.cumsum(indices.astype(np.int64) + 1) - 1
    if count and places[-1] >= size:
        raise reader.fail("is damaged: an index is out of range", got=int(places[-1]), wanted=f"below {size}")
    symbols = np.full(size, background, np.uint8)
    symbols[places] = found
    return symbols


def _write_values(writer: Writer, values: NDArray[np.int64]) -> None:
    """The codebook: the values themselves, or one bit for each that could be where those are fewer."""
    writer.number(len(values) - 1)
    if len(values) < 32:
        writer.raw(values.astype(np.uint8).tobytes())
    elif len(values) < 256:
        mask = np.zeros(256, bool)
        mask[values] = True
        writer.blob(np.packbits(mask).tobytes())


def _read_values(reader: Reader) -> Symbols:
    count = reader.number(255) + 1
    if count < 32:
        return np.frombuffer(reader.raw(count), np.uint8)
    values = np.arange(256) if count == 256 else np.flatnonzero(_read_mask(reader, 256))
    if len(values) != count:
        raise reader.fail("is damaged: a codebook has another size", got=len(values), wanted=count)
    return values.astype(np.uint8)


def _read_mask(reader: Reader, size: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(reader.blob(-(-size // 8)), np.uint8)
    return np.unpackbits(packed, count=size).astype(bool)
