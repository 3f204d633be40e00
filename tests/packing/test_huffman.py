from __future__ import annotations

import heapq

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.packing.huffman import LANE, MAX_LENGTH, code_lengths, read_huffman, write_huffman
from edgeq.packing.stream import Reader, Writer


def written(symbols: NDArray[np.uint8], alphabet: int) -> bytes:
    writer = Writer()
    write_huffman(writer, symbols, alphabet)
    return bytes(writer.content)


def drawn(count: int, alphabet: int, skew: float, seed: int = 0) -> NDArray[np.uint8]:
    shares = np.arange(1, alphabet + 1) ** -skew
    generator = np.random.default_rng(seed)
    return generator.choice(alphabet, count, p=shares / shares.sum()).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 2, LANE - 1, LANE, LANE + 1, 3 * LANE + 7])
@pytest.mark.parametrize(("alphabet", "skew"), [(2, 0.0), (3, 4.0), (16, 1.0), (256, 0.0), (256, 2.5)])
def test_symbols_come_back(count: int, alphabet: int, skew: float) -> None:
    symbols = drawn(count, alphabet, skew)
    reader = Reader(written(symbols, alphabet), "x")
    np.testing.assert_array_equal(read_huffman(reader, count, alphabet), symbols)
    assert reader.left == 0


def test_the_code_is_as_short_as_any_prefix_code() -> None:
    """The cost of Huffman's tree is the sum of its inner nodes, whichever way ties are broken."""
    counts = np.bincount(drawn(5000, 40, 1.3), minlength=40)
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        cost += both
        heapq.heappush(heap, both)
    lengths = code_lengths(counts)
    assert counts @ lengths == cost
    assert sum(2.0**-length for length in lengths if length) == 1


def test_no_code_is_longer_than_a_table_can_tell() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(sum(fibonacci[-2:]))
    lengths = code_lengths(np.array(fibonacci))
    assert lengths.max() == MAX_LENGTH
    assert sum(2.0**-length for length in lengths) == 1


def test_one_bit_after_another_is_decoded_to_the_same_symbols() -> None:
    """A textbook decoder of canonical codes, a bit at a time."""
    symbols = drawn(500, 20, 1.2)
    content = written(symbols, 20)
    lengths = code_lengths(np.bincount(symbols, minlength=20))
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((int(length), i) for i, length in enumerate(lengths) if length):
        code <<= length - before
        codes[format(code, f"0{length}b")] = symbol
        code, before = code + 1, length
    payload = content[-(int(lengths[symbols].sum()) + 7 >> 3) :]
    bits = "".join(format(byte, "08b") for byte in payload)
    found: list[int] = []
    word = ""
    for bit in bits:
        word += bit
        if word in codes and len(found) < len(symbols):
            found.append(codes[word])
            word = ""
    assert found == symbols.tolist()


@pytest.mark.parametrize("lengths", [[0] * 4, [1, 1, 1, 1], [2, 2, 2, 0], [15, 15, 0, 0]])
def test_lengths_that_make_no_code_are_refused(lengths: list[int]) -> None:
    writer = Writer()
    writer.blob(bytes([lengths[0] | lengths[1] << 4, lengths[2] | lengths[3] << 4]))
    writer.number(8)
    writer.raw(b"\0")
    with pytest.raises(FormatError, match="make no code"):
        read_huffman(Reader(bytes(writer.content), "x"), 4, 4)
