"""The proof: no input passes a bound, and one reaches it. Arithmetic here is numpy's, over a million inputs a layer."""

from __future__ import annotations

import numpy as np
import pytest
from dense_cases import DENSE
from int8_models import artifact_of, file_inputs, float_model, random_samples
from numpy.typing import NDArray
from operation_case import Case
from window_cases import CONV, CONV_TRANSPOSE

from edgeq.accumulate.bounds import (
    ChainOrder,
    bits_for,
    chain_bound,
    formula_bits,
    grid_bits_for_chain,
    longest_chain,
    sum_bound,
)
from edgeq.accumulate.columns import layer_columns, whole_sums
from edgeq.accumulate.sums import WeightedSum, weighted_sums
from edgeq.tflite.read import read_graph
from edgeq.verify.litert import run_all_tensors

INPUTS = 1_000_000
TRIED = (
    "plain, groups, depthwise, depthwise times 3, dilation, same stride 2 odd, torch pads stride 2 even, torch, "
    "not transposed, no bias, doubling as torch does, kernel below stride, asymmetric, relu"
)
LAYERS = [case for case in (*CONV, *CONV_TRANSPOSE, *DENSE) if f"{case.about}, " in f"{TRIED}, "]


def layer(
    codes: NDArray[np.int16], low: int = -128, high: int = 127, zero: int = 0, kind: str = "CONV_2D"
) -> WeightedSum:
    outputs, taps, _ = codes.shape
    groups = outputs if kind == "DEPTHWISE_CONV_2D" else 1
    bias = np.arange(outputs, dtype=np.int64) * 1000 - 1500
    return WeightedSum("layer", 0, kind, codes, bias, low, high, zero, (taps, 1), groups, (np.arange(taps),))


def inputs_of(item: WeightedSum, products: int, seed: int) -> NDArray[np.int8]:
    """A million inputs [N, K] to one sum: any codes, the extreme ones, and those of padding (the zero point)."""
    random = np.random.default_rng(seed)
    third = INPUTS // 3
    return np.concatenate(
        [
            random.integers(item.low, item.high + 1, (third, products), dtype=np.int8),
            random.choice(np.array([item.low, item.high], np.int8), (third, products)),
            random.choice(np.array([item.low, item.zero_point, item.high], np.int8), (INPUTS - 2 * third, products)),
        ]
    )


def rows_of(item: WeightedSum) -> list[NDArray[np.int16]]:
    return [item.codes[:, taps].reshape(len(item.codes), -1) for taps in item.phases]


def shapes() -> dict[str, WeightedSum]:
    random = np.random.default_rng(5)

    def codes(*shape: int, peak: int = 127) -> NDArray[np.int16]:
        return random.integers(-peak, peak + 1, shape).astype(np.int16)

    return {
        "convolution": layer(codes(4, 9, 3), zero=-3),
        "after relu": layer(codes(4, 9, 2), zero=-128),
        "after relu6": layer(codes(4, 9, 2), low=-100, high=50, zero=-100),
        "depthwise": layer(codes(5, 9, 1), zero=7, kind="DEPTHWISE_CONV_2D"),
        "dense": layer(codes(4, 1, 20, peak=15), zero=127, kind="FULLY_CONNECTED"),
        "one sign": layer(np.abs(codes(3, 4, 4)), zero=12),
    }


@pytest.mark.parametrize("name", shapes())
def test_a_million_inputs_do_not_contradict_the_bound_and_one_reaches_it(name: str) -> None:
    item = shapes()[name]
    bound = sum_bound(item)
    rows = rows_of(item)[0].astype(np.float32)
    values = inputs_of(item, rows.shape[1], 1).astype(np.float32) - item.zero_point  # sums below 2^24 are exact
    sums = values @ rows.T + item.bias.astype(np.float32)
    assert bound.low <= sums.min() <= sums.max() <= bound.high
    partial = np.cumsum(values[:2000, :, None] * rows.T[None], axis=1) + item.bias.astype(np.float32)
    assert bound.low <= partial.min() <= partial.max() <= bound.high
    low, high = item.low - item.zero_point, item.high - item.zero_point
    worst = np.where(rows > 0, high, low).astype(np.float32), np.where(rows > 0, low, high).astype(np.float32)
    most, least = ((part * rows).sum(axis=1) for part in worst)
    assert (most + np.maximum(item.bias, 0)).max() == bound.high
    assert (least + np.minimum(item.bias, 0)).min() == bound.low
    assert bound.bits == bits_for(bound.low, bound.high) <= formula_bits(item) + 1, "the formula has no bias"


@pytest.mark.parametrize("order", ["any", "xnnpack", "ruy"])
@pytest.mark.parametrize("name", shapes())
def test_a_million_inputs_do_not_contradict_the_proof_of_a_chain(name: str, order: ChainOrder) -> None:
    """Chains in numpy's own int16, which wraps around as NEON's does."""
    item = shapes()[name]
    length = {"any": longest_chain(item), "xnnpack": 2, "ruy": 3}[order]
    bound = chain_bound(item, length, order)
    weights = np.array(bound.weights, np.int32)
    products = inputs_of(item, len(weights), 2) * weights
    sums = np.cumsum(products, axis=1, dtype=np.int32)
    assert bound.low <= sums.min() <= sums.max() <= bound.high
    if bound.holds:
        assert np.array_equal(np.cumsum(products.astype(np.int16), axis=1, dtype=np.int16), sums)
    upper = np.maximum(weights * item.low, weights * item.high)
    lower = np.minimum(weights * item.low, weights * item.high)
    assert bound.high == max(np.cumsum(upper).max(), 0) or bound.low == min(np.cumsum(lower).min(), 0)


@pytest.mark.parametrize("order", ["any", "xnnpack", "ruy"])
def test_a_chain_that_can_overflow_does_with_its_worst_input(order: ChainOrder) -> None:
    item = layer(np.full((2, 2, 16), -128, np.int16))  # two products of -128 x -128: one more than int16 holds
    bound = chain_bound(item, 2, order)
    assert (bound.high, bound.unsafe, bound.weights) == (32768, 2, (-128, -128))
    assert longest_chain(item) == 1
    worst = np.array(bound.weights, np.int16) * np.int16(-128)
    with np.errstate(over="ignore"):
        assert worst.sum(dtype=np.int16) == -32768
    assert chain_bound(layer(np.full((2, 2, 16), -127, np.int16)), 2, order).holds


def test_any_chain_of_a_layer_is_within_the_bound_of_any_order() -> None:
    """Against all subsets of a small layer, by enumeration."""
    from itertools import permutations

    item = layer(np.array([[[90, -127, 60, -3, 0, 41]]], np.int16))
    for length in (1, 2, 3, 4):
        bound = chain_bound(item, length)
        every = [
            np.cumsum([max(w * item.low, w * item.high) for w in part])[-1]
            for part in permutations(item.codes.ravel().tolist(), length)
        ]
        assert bound.high == max(every)
    assert longest_chain(item) == max(n for n in range(1, 7) if chain_bound(item, n).holds)


@pytest.mark.parametrize("name", shapes())
def test_a_large_layer_is_looked_at_in_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    item = shapes()[name]
    orders: tuple[ChainOrder, ...] = ("any", "xnnpack", "ruy")

    def found() -> list[object]:
        return [sum_bound(item), longest_chain(item), *(chain_bound(item, 2, order) for order in orders)]

    whole = found()
    monkeypatch.setattr("edgeq.accumulate.bounds.BLOCK", 2 * item.codes[0].size)
    assert found() == whole


def test_chains_are_those_of_the_kernels() -> None:
    """XNNPACK chains what lies 8 channels apart in a tap, and two taps of a depthwise layer; ruy goes over all taps."""
    codes = np.arange(1, 2 * 24 + 1, dtype=np.int16).reshape(1, 2, 24)
    assert chain_bound(layer(codes), 2, "xnnpack").weights == (32, 40)  # channels 7 and 15 of the second tap
    assert chain_bound(layer(codes), 2, "ruy").weights == (40, 48)  # 39 and 47 of 48
    one = np.arange(1, 10, dtype=np.int16).reshape(1, 9, 1)
    assert chain_bound(layer(one, kind="DEPTHWISE_CONV_2D"), 2, "xnnpack").weights == (7, 8)


@pytest.mark.parametrize("length", [2, 3, 4, 8, 300])
def test_a_grid_that_is_advised_holds_whatever_its_codes(length: int) -> None:
    item = layer(np.full((1, 1, 300), 127, np.int16))
    bits = grid_bits_for_chain(item, length)
    if bits > 1:
        peak = 2 ** (bits - 1) - 1
        signs = np.random.default_rng(0).choice([-peak, peak], (3, 1, 300)).astype(np.int16)
        assert chain_bound(layer(signs), length).holds
    if bits < 8:
        assert not chain_bound(layer(np.full((1, 1, 300), 2**bits - 1, np.int16)), length).holds
    assert bits == {2: 8, 3: 7, 4: 7, 8: 6, 300: 1}[length]


@pytest.mark.parametrize("case", LAYERS, ids=[case.name for case in LAYERS])
def test_the_sums_are_those_of_litert(case: Case) -> None:
    """Whole sums, requantized, are what the reference kernels give within a code, and none passes its bound."""
    model = float_model(case.body, case.constants, case.inputs, case.outputs)
    content = artifact_of(model).content
    graph = read_graph(content)
    item = weighted_sums(graph)[0]
    operator = graph.operators[item.operator]
    source = operator.inputs[2 if item.kind == "TRANSPOSE_CONV" else 0]
    samples = file_inputs(graph, random_samples(dict(case.inputs)))
    tensors = run_all_tensors(content, samples)
    weights, result = graph.tensors[operator.inputs[1]].quantization, graph.tensors[operator.outputs[0]].quantization
    given = graph.tensors[source].quantization
    assert weights is not None
    assert result is not None
    assert given is not None
    factor = given.scale[0].astype(np.float64) * weights.scale.astype(np.float64) / result.scale[0]
    bound = sum_bound(item)
    for read, found in zip(tensors[source], tensors[operator.outputs[0]], strict=True):
        sums = whole_sums(item, layer_columns(item, operator, read, found.shape))
        assert bound.low <= sums.min() <= sums.max() <= bound.high
        codes = np.clip(np.rint(sums * factor) + result.zero_point[0], -128, 127).reshape(found.shape)
        if operator.options.fusedActivationFunction:
            codes = np.maximum(codes, result.zero_point[0])
        assert np.abs(codes - found).max() <= 1
