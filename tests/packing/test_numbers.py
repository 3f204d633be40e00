from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeq.compress.symmetry import SYMMETRIES, tied_places
from edgeq.packing.codes import Coded
from edgeq.packing.numbers import Kind, read_constant, write_constant
from edgeq.packing.stream import Reader, Writer


def there_and_back(values: NDArray[np.generic], kind: Kind) -> tuple[Coded, int]:
    """How it was coded, and the bytes it takes; it comes back as it was."""
    content = np.frombuffer(values.tobytes(), np.uint8)
    writer = Writer()
    coded = write_constant(writer, content, kind)
    reader = Reader(bytes(writer.content), "x")
    assert read_constant(reader, len(content)).tobytes() == content.tobytes()
    assert reader.left == 0
    return coded, len(writer.content)


def pruned(shape: tuple[int, int], density: float, distinct: int, seed: int = 0) -> NDArray[np.int8]:
    generator = np.random.default_rng(seed)
    codes = generator.choice(np.arange(1, distinct + 1) * 7 - 60, shape).astype(np.int8)
    codes[codes == 0] = 1
    return np.where(generator.random(shape) < density, codes, 0).astype(np.int8)


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["int8", "int16", "int32", "int64", "float32", "float64", "uint16"]),
    rows=st.integers(1, 7),
    columns=st.integers(1, 400),
    density=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    distinct=st.sampled_from([1, 2, 16, 300, 100_000]),
    seed=st.integers(0, 1000),
)
def test_any_constant_comes_back(dtype: str, rows: int, columns: int, density: float, distinct: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(-distinct, distinct, (rows, columns)) * (generator.random((rows, columns)) < density)
    kind = np.dtype(dtype)
    there_and_back(values.astype(dtype), Kind(8 * kind.itemsize, kind.kind == "i" and kind.itemsize > 1, rows))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 999, 5000])
def test_several_codes_a_byte_come_back(bits: int, size: int) -> None:
    packed = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    there_and_back(packed, Kind(bits, rows=3))
    _, taken = there_and_back(packed & 1, Kind(bits, rows=3))
    assert size < 999 or taken < size / 4


@pytest.mark.parametrize(("bits", "shape"), [(8, (24, 24)), (8, (16, 3, 3, 16)), (4, (16, 1, 1, 16))])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_symmetric_weights_take_one_code_for_tied_ones(
    bits: int, shape: tuple[int, ...], symmetry: tuple[Any, ...]
) -> None:
    sides = (shape[0], shape[-1], *shape[1:-1])
    places = tied_places(sides, *symmetry)
    if places is None:
        pytest.skip("this weight cannot have it")
    values = np.random.default_rng(0).integers(0, 1 << bits, int(places.max()) + 1).astype(np.uint8)
    codes = np.moveaxis(values[places], 1, -1).ravel()
    content = codes if bits == 8 else codes[::2] | codes[1::2] << 4
    coded, taken = there_and_back(content, Kind(bits, rows=shape[0], shape=shape))
    assert coded.tied > 1
    assert taken < 1.05 * len(values) * bits / 8 + 300  # and a codebook


@pytest.mark.parametrize("density", [0.3, 0.12, 0.05, 0.02])
def test_a_pruned_layer_takes_little_more_than_its_entropy(density: float) -> None:
    """Places: H(density) a weight; codes: 4 bits a weight that is left. Within 3 percent of both."""
    codes = pruned((300, 784), density, 16)
    coded, taken = there_and_back(codes, Kind(rows=300))
    entropy = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
    assert 8 * taken < 1.03 * codes.size * (entropy + 4 * density)
    assert coded.distinct == 17
    assert coded.used == np.count_nonzero(codes)
    assert coded.index_bits


def test_a_gap_that_no_index_can_tell_is_bridged() -> None:
    codes = np.zeros(5000, np.int8)
    codes[[0, 1, 17, 18, 1000, 1300, 4999]] = [1, 2, 3, 4, 5, 6, 7]
    assert there_and_back(codes, Kind())[1] < 50


def test_rows_and_columns_without_a_weight_cost_nothing() -> None:
    dense = np.random.default_rng(0).integers(-100, 100, (30, 40)).astype(np.int8)
    codes = np.zeros((60, 120), np.int8)
    codes[::2, 1::3] = dense
    assert there_and_back(codes, Kind(rows=60))[1] < there_and_back(dense, Kind(rows=30))[1] + 60


def test_ternary_codes_take_less_than_two_bits() -> None:
    codes = np.random.default_rng(0).integers(-1, 2, (64, 576)).astype(np.int8)
    assert 8 * there_and_back(codes, Kind(rows=64))[1] < 1.01 * np.log2(3) * codes.size


def test_numbers_of_few_values_get_a_codebook() -> None:
    generator = np.random.default_rng(0)
    codebook = generator.standard_normal(32).astype(np.float32)
    values = generator.choice(codebook, (100, 100))
    coded, taken = there_and_back(values, Kind(32, rows=100))
    assert coded.distinct == 32
    assert 8 * taken < 1.01 * (5 * values.size + 32 * 32)


def test_biases_take_the_bits_they_have() -> None:
    biases = np.random.default_rng(0).normal(0, 3000, 500).astype(np.int32)
    assert there_and_back(biases, Kind(32, True))[1] < 2 * 500


def test_noise_is_not_blown_up() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.uint8)
    assert there_and_back(noise, Kind(rows=10))[1] < 10_016
