"""Canonical Huffman codes of symbols 0 to 255, packed and unpacked with numpy.

A stream is cut into lanes of :data:`LANE` symbols that are decoded side by side, one step of numpy a symbol, which is
what makes Python fast enough for it; a lane costs about ten bits for its length.

Source: Huffman 1952; Schwartz and Kallick 1964 (canonical codes); Han et al. 2016, arXiv:1510.00149, section 4.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.packing.stream import Reader, Writer

__all__ = ["LANE", "MAX_LENGTH", "code_lengths", "read_bits", "read_huffman", "write_bits", "write_huffman"]

LANE = 1024
MAX_LENGTH = 15  # bits: a length fits half a byte, a table of all codes 32,768 entries
CHUNK = 1 << 20  # symbols that are packed at a time, to bound memory

Symbols = NDArray[np.uint8]


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The code length of each symbol, at most :data:`MAX_LENGTH`, 0 for those that do not occur.

    Args:
        counts: how often each symbol occurs, int64 [K].
    """
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(used) == 1:
        lengths[used] = 1
        return lengths
    weights = counts[used].tolist()
    while True:
        found = _tree_depths(weights)
        if max(found, default=0) <= MAX_LENGTH:
            break
        weights = [(weight + 1) // 2 for weight in weights]  # a flatter tree, as bzip2 does it
    lengths[used] = found
    return lengths


def _tree_depths(weights: list[int]) -> list[int]:
    heap = [(weight, i) for i, weight in enumerate(weights)]
    heapq.heapify(heap)
    parents = [0] * (2 * len(weights) - 1)
    for node in range(len(weights), len(parents)):
        (first, a), (second, b) = heapq.heappop(heap), heapq.heappop(heap)
        parents[a] = parents[b] = node
        heapq.heappush(heap, (first + second, node))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(weights)]


def _canonical(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The code of each symbol: shorter ones first, those of one length in the symbols' order."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    widths = 1 << (MAX_LENGTH - lengths[order])
    codes = np.zeros(len(lengths), np.int64)
    codes[order] = (np.cumsum(widths) - widths) >> (MAX_LENGTH - lengths[order])
    return codes


def write_huffman(writer: Writer, symbols: Symbols, alphabet: int) -> None:
    """Write symbols below ``alphabet``, at least one; their number is known to the reader."""
    lengths = code_lengths(np.bincount(symbols, minlength=alphabet))
    writer.blob(_nibbles(lengths))
    bits = lengths[symbols]
    lanes = np.add.reduceat(bits, np.arange(0, len(symbols), LANE))
    if len(lanes) > 1:
        least = int(lanes.min())
        width = int(lanes.max() - least).bit_length()
        writer.number(least)
        writer.number(width)
        write_bits(writer, lanes - least, np.full(len(lanes), width))
    else:
        writer.number(int(lanes[0]))
    write_bits(writer, _canonical(lengths)[symbols], bits)


def read_huffman(reader: Reader, count: int, alphabet: int) -> Symbols:
    """Read ``count`` symbols, at least one.

    Raises:
        FormatError: truncated or damaged.
    """
    table = np.frombuffer(reader.blob((alphabet + 1) // 2), np.uint8)
    lengths = np.stack([table & 15, table >> 4], axis=1).ravel()[:alphabet].astype(np.int64)
    lookup = _lookup(reader, lengths)
    lanes = -(-count // LANE)
    most = LANE * MAX_LENGTH
    sizes = np.array([reader.number(most)], np.int64)
    if lanes > 1:
        width = reader.number(most.bit_length())
        sizes = sizes + read_bits(reader, lanes, width)
    total = int(sizes.sum())
    packed = np.frombuffer(reader.raw(-(-total // 8)), np.uint8)
    symbols, ends = _decode(packed, np.cumsum(sizes) - sizes, lookup, count)
    if not np.array_equal(ends, np.cumsum(sizes)):
        raise reader.fail("is damaged: a code ends in the wrong place")
    return symbols


def _lookup(reader: Reader, lengths: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Symbol and length of the code at the start of each 15 bits: symbol + 256 * length."""
    used = np.flatnonzero(lengths)
    spans = 1 << (MAX_LENGTH - lengths[used])
    if len(used) == 1:
        spans = np.array([1 << MAX_LENGTH])
    if not len(used) or int(spans.sum()) != 1 << MAX_LENGTH:
        raise reader.fail("is damaged: its code lengths make no code")
    order = np.argsort(lengths[used], kind="stable")
    entries = (used + 256 * lengths[used]).astype(np.uint16)
    return np.repeat(entries[order], spans[order])


def _decode(
    packed: Symbols, starts: NDArray[np.int64], lookup: NDArray[np.uint16], count: int
) -> tuple[Symbols, NDArray[np.int64]]:
    windows = _windows(packed)
    last = len(windows) - 1
    places = starts.copy()
    out = np.empty((min(LANE, count), len(places)), np.uint8)
    short = count - LANE * (len(places) - 1)  # symbols of the last lane
    now = places
    for step in range(len(out)):
        if step == short:
            now = places[:-1]
        window = windows[np.minimum(now >> 3, last)]
        found = lookup[(window >> (9 - (now & 7))) & 0x7FFF]
        out[step, : len(now)] = found & 255
        now += found >> 8
    return out.T.ravel()[:count] if len(out) == LANE else out[:, 0], places


def _windows(packed: Symbols) -> NDArray[np.int32]:
    """The 24 bits from each byte on."""
    padded = np.concatenate([packed, np.zeros(3, np.uint8)]).astype(np.int32)
    windows: NDArray[np.int32] = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
    return windows


def write_bits(writer: Writer, values: NDArray[Any], widths: NDArray[Any]) -> None:
    """Write each value in so many bits (at most 15), the highest first; the end is filled up to a byte."""
    total = int(widths.sum())
    packed = np.zeros(-(-total // 8) + 3, np.uint8)
    done = 0
    for begin in range(0, len(values), CHUNK):
        width = widths[begin : begin + CHUNK].astype(np.int64)
        starts = done + np.cumsum(width) - width
        done = int(starts[-1] + width[-1])
        first = int(starts[0]) >> 3
        window = values[begin : begin + CHUNK].astype(np.int64) << (24 - width - (starts & 7))
        places = (starts >> 3) - first
        size = int(places[-1]) + 3
        for i in range(3):  # no two values share a bit: a sum puts them together
            part = np.bincount(places + i, (window >> (16 - 8 * i)) & 255, size)
            packed[first : first + size] += part.astype(np.uint8)
    writer.raw(packed[: -(-total // 8)].tobytes())


def read_bits(reader: Reader, count: int, width: int) -> NDArray[np.int64]:
    """Read ``count`` values of one width, at most 15 bits."""
    packed = np.frombuffer(reader.raw(-(-count * width // 8)), np.uint8)
    if not width:
        return np.zeros(count, np.int64)
    starts = np.arange(count) * width
    values: NDArray[np.int64] = (_windows(packed)[starts >> 3] >> (24 - width - (starts & 7))) & ((1 << width) - 1)
    return values


def _nibbles(lengths: NDArray[np.int64]) -> bytes:
    even = np.append(lengths, [0] * (len(lengths) % 2)).astype(np.uint8)
    return (even[::2] | even[1::2] << 4).tobytes()
