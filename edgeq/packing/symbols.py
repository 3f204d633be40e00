"""Streams of symbols from a small alphabet, each in whichever of four forms is smallest."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from edgeq.packing.huffman import code_lengths, read_bits, read_huffman, write_bits, write_huffman
from edgeq.packing.stream import Reader, Writer

__all__ = ["estimated_bits", "read_symbols", "write_symbols"]

FIXED, HUFFMAN, GROUPED, BLOB = range(4)
"""So many bits a symbol; a Huffman code; one of several symbols at a time, for codes of less than a bit a symbol;
Deflate or LZMA, for what repeats itself."""

Symbols = NDArray[np.uint8]


def estimated_bits(symbols: Symbols, alphabet: int) -> float:
    """What a Huffman code and its table take, or fixed width where that is less."""
    counts = np.bincount(symbols, minlength=alphabet)
    coded = float(counts @ code_lengths(counts)) + 4 * alphabet
    return min(coded, len(symbols) * (alphabet - 1).bit_length())


def write_symbols(writer: Writer, symbols: Symbols, alphabet: int) -> None:
    """Write symbols below ``alphabet`` (at most 256), whose number and alphabet the reader knows."""
    if alphabet == 1 or not len(symbols):
        return
    width = (alphabet - 1).bit_length()
    forms = {FIXED: Writer()}
    smallest = -(-len(symbols) * width // 8)
    if (each := _group_size(alphabet)) > 1:
        forms[GROUPED] = Writer()
        write_huffman(forms[GROUPED], _grouped(symbols, alphabet, each), alphabet**each)
    if estimated_bits(symbols, alphabet) < 8 * smallest:
        forms[HUFFMAN] = Writer()
        write_huffman(forms[HUFFMAN], symbols, alphabet)
    smallest = min([smallest, *(len(form.content) for form in forms.values() if form.content)])
    if len(zlib.compress(symbols.tobytes(), 1)) < smallest:  # which only what repeats itself brings about
        forms[BLOB] = Writer()
        forms[BLOB].blob(symbols.tobytes())
        smallest = min(smallest, len(forms[BLOB].content))
    form = next((form for form, found in forms.items() if len(found.content) == smallest), FIXED)
    writer.number(form)
    if form == FIXED:
        write_bits(writer, symbols, np.full(len(symbols), width))
    else:
        writer.raw(bytes(forms[form].content))


def read_symbols(reader: Reader, count: int, alphabet: int) -> Symbols:
    """Read so many symbols.

    Raises:
        FormatError: truncated or damaged.
    """
    if alphabet == 1 or not count:
        return np.zeros(count, np.uint8)
    form = reader.number(BLOB)
    if form == FIXED:
        symbols = read_bits(reader, count, (alphabet - 1).bit_length()).astype(np.uint8)
    elif form == HUFFMAN:
        return read_huffman(reader, count, alphabet)
    elif form == BLOB:
        symbols = np.frombuffer(reader.blob(count), np.uint8)
    else:
        each = _group_size(alphabet)
        groups = read_huffman(reader, -(-count // each), alphabet**each)
        powers = alphabet ** np.arange(each)
        symbols = (groups[:, None] // powers % alphabet).astype(np.uint8).ravel()[:count]
    if symbols.max() >= alphabet:
        raise reader.fail("is damaged: a symbol is out of range", got=int(symbols.max()), wanted=f"below {alphabet}")
    return symbols


def _group_size(alphabet: int) -> int:
    """How many symbols make one of at most 256."""
    each = 1
    while alphabet ** (each + 1) <= 256:
        each += 1
    return each


def _grouped(symbols: Symbols, alphabet: int, each: int) -> Symbols:
    padded = np.zeros(-(-len(symbols) // each) * each, np.int64)
    padded[: len(symbols)] = symbols
    return (padded.reshape(-1, each) @ alphabet ** np.arange(each)).astype(np.uint8)
