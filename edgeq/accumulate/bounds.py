"""Interval arithmetic over the actual codes of a layer: what its sums can reach, and what chains of products in int16.

Nothing here is an estimate: every bound is reached by an input that the layer can have, and no input passes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeq.accumulate.sums import WeightedSum

__all__ = [
    "INT16",
    "LANES",
    "ChainBound",
    "ChainOrder",
    "SumBound",
    "bits_for",
    "chain_bound",
    "formula_bits",
    "grid_bits_for_chain",
    "longest_chain",
    "sum_bound",
]

INT16 = (-32768, 32767)
LANES = 8
"""Products that one VMULL.S8 or VMLAL.S8 adds, each to an int16 of its own."""

BLOCK = 1 << 20
"""Weights that are looked at together: some tens of megabytes of int64."""

ChainOrder = Literal["any", "xnnpack", "ruy"]


@dataclass(frozen=True, slots=True)
class SumBound:
    """What a layer's accumulators can reach, at any time and in any order of summation.

    Attributes:
        low, high: the smallest and largest value.
        channel: the output channel that needs the most bits.
    """

    low: int
    high: int
    channel: int

    @property
    def bits(self) -> int:
        """Of a two's complement accumulator that holds them."""
        return bits_for(self.low, self.high)


@dataclass(frozen=True, slots=True)
class ChainBound:
    """What chains of products can reach in int16.

    Attributes:
        low, high: the smallest and largest value.
        channel: the output channel whose chain goes furthest.
        weights: the codes of that chain.
        unsafe: output channels with a chain that can leave int16.
    """

    low: int
    high: int
    channel: int
    weights: tuple[int, ...]
    unsafe: int

    @property
    def holds(self) -> bool:
        return self.unsafe == 0


def bits_for(low: int, high: int) -> int:
    """The bits of the narrowest two's complement integer that holds both; 1 at least."""
    return 1 + max(high.bit_length(), (~low).bit_length() if low < 0 else 0)


def formula_bits(item: WeightedSum) -> int:
    """``BW_w + BW_d - 1 + ceil(log2 K)``, with the widths of the layer's codes and of its input less the zero point.

    Source: de Bruin, Zivkovic and Corporaal 2018, constraint WC_w/WC_d; the bias is not in it.
    """
    peak = int(np.abs(item.codes).max(initial=0))
    data = bits_for(item.low - item.zero_point, item.high - item.zero_point)
    return bits_for(-peak, peak) + data - 1 + math.ceil(math.log2(max(item.products, 1)))


def sum_bound(item: WeightedSum) -> SumBound:
    """Over all inputs, with the actual weights and bias: constraint ACT_w/WC_d, sign by sign.

    Since the zero point is a code (padding has it), each product can be zero. So no partial sum, in whatever order and
    with the bias first or last, leaves the range of whole sums; and an input reaches both of its ends.
    """
    parts = [(first, _sum_bound(part)) for first, part in _blocks(item)]
    first, worst = max(parts, key=lambda part: max(part[1].high, -part[1].low - 1))
    return SumBound(min(part.low for _, part in parts), max(part.high for _, part in parts), first + worst.channel)


def _sum_bound(item: WeightedSum) -> SumBound:
    low, high = item.low - item.zero_point, item.high - item.zero_point
    parts = []
    for rows in _rows(item):
        positive = np.clip(rows, 0, None).sum(axis=1, dtype=np.int64)
        negative = np.clip(rows, None, 0).sum(axis=1, dtype=np.int64)
        parts.append((positive * low + negative * high, positive * high + negative * low))
    least = np.minimum.reduce([part[0] for part in parts]) + np.minimum(item.bias, 0)
    most = np.maximum.reduce([part[1] for part in parts]) + np.maximum(item.bias, 0)
    channel = int(np.maximum(most, -least - 1).argmax())
    return SumBound(int(least.min()), int(most.max()), channel)


def chain_bound(item: WeightedSum, length: int, order: ChainOrder = "any") -> ChainBound:
    """The furthest that a chain of so many products w x, of codes as they are, can get in an int16.

    Args:
        item: the layer.
        length: products that are added before the int16 is widened; 2 in the kernels there are.
        order: which products a chain is of: ``any`` of the layer's; those that lie ``LANES`` apart in one tap of an
            XNNPACK kernel (one behind the other in a depthwise one); or the same over all taps, as in ruy and gemmlowp.

    Every prefix of a chain is in it, too.
    """
    find = _any_chain if order == "any" else partial(_kernel_chain, order=order)
    parts = [(first, find(part, length)) for first, part in _blocks(item)]
    first, worst = max(parts, key=lambda part: max(part[1].high, -part[1].low - 1))
    return ChainBound(
        min(part.low for _, part in parts),
        max(part.high for _, part in parts),
        first + worst.channel,
        worst.weights,
        sum(part.unsafe for _, part in parts),
    )


def _kernel_chain(item: WeightedSum, length: int, order: ChainOrder) -> ChainBound:
    chains = _chains(item, length, order)  # [O, chains, length]
    low, high = _product_limits(chains, item)
    least, most = np.cumsum(low, axis=2).min(axis=2), np.cumsum(high, axis=2).max(axis=2)
    least, most = np.minimum(least, 0), np.maximum(most, 0)
    reach = np.maximum(most, -least - 1)
    channel, chain = np.unravel_index(int(reach.argmax()), reach.shape)
    unsafe = int((reach > INT16[1]).any(axis=1).sum())
    weights = tuple(int(code) for code in chains[channel, chain])
    return ChainBound(int(least.min()), int(most.max()), int(channel), weights, unsafe)


def longest_chain(item: WeightedSum) -> int:
    """How many products, any of one sum's, may be added in an int16 without a doubt; all of them at most."""
    longest = item.products
    for rows in (rows for _, part in _blocks(item) for rows in _rows(part)):
        low, high = _product_limits(rows, item)
        most = np.cumsum(-np.sort(-np.maximum(high, 0), axis=1), axis=1).max(axis=0)
        least = np.cumsum(np.sort(np.minimum(low, 0), axis=1), axis=1).min(axis=0)
        fits = (most <= INT16[1]) & (least >= INT16[0])
        longest = longest if fits.all() else min(longest, int(fits.argmin()))
    return longest


def grid_bits_for_chain(item: WeightedSum, length: int) -> int:
    """The most bits of a symmetric weight grid whose chains hold whatever its codes; 1 where none does."""
    for bits in range(8, 1, -1):
        peak = 2 ** (bits - 1) - 1
        ends = [
            peak * item.low * length,
            -peak * item.low * length,
            peak * item.high * length,
            -peak * item.high * length,
        ]
        if INT16[0] <= min(ends) and max(ends) <= INT16[1]:
            return bits
    return 1


def _blocks(item: WeightedSum) -> Iterator[tuple[int, WeightedSum]]:
    """Output channels in turn, so many at once that what is computed of them stays small; with the first's number."""
    count = max(1, BLOCK // max(1, item.codes[0].size))
    for first in range(0, len(item.codes), count):
        end = first + count
        yield first, replace(item, codes=item.codes[first:end], bias=item.bias[first:end])


def _rows(item: WeightedSum) -> list[NDArray[np.int16]]:
    """Codes by output channel, [O, K], for each way that the taps meet an output."""
    return [item.codes[:, taps].reshape(len(item.codes), -1) for taps in item.phases]


def _product_limits(codes: NDArray[np.int16], item: WeightedSum) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ends = codes.astype(np.int64) * item.low, codes.astype(np.int64) * item.high
    return np.minimum(*ends), np.maximum(*ends)


def _any_chain(item: WeightedSum, length: int) -> ChainBound:
    """The products that reach furthest, of each channel; of several ways that taps meet an output, the worst."""
    found = [_furthest(rows, item, min(length, rows.shape[1])) for rows in _rows(item)]
    reach = np.maximum.reduce([part[0] for part in found])
    channel = int(reach.argmax())
    rows_reach, _, _, chosen = max(found, key=lambda part: int(part[0][channel]))
    assert rows_reach[channel] == reach[channel]
    weights = tuple(int(code) for code in chosen[channel])
    least, most = min(int(part[1].min()) for part in found), max(int(part[2].max()) for part in found)
    return ChainBound(least, most, channel, weights, int((reach > INT16[1]).sum()))


def _furthest(
    rows: NDArray[np.int16], item: WeightedSum, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
    """By channel: the larger distance from 0, the smallest and the largest value, and the codes that reach it."""
    low, high = _product_limits(rows, item)
    up = np.argpartition(-np.maximum(high, 0), length - 1, axis=1)[:, :length]
    down = np.argpartition(np.minimum(low, 0), length - 1, axis=1)[:, :length]
    most = np.maximum(np.take_along_axis(high, up, 1), 0).sum(axis=1)
    least = np.minimum(np.take_along_axis(low, down, 1), 0).sum(axis=1)
    chosen = np.take_along_axis(rows, np.where((most >= -least - 1)[:, None], up, down), 1)
    return np.maximum(most, -least - 1), least, most, chosen


def _chains(item: WeightedSum, length: int, order: ChainOrder) -> NDArray[np.int16]:
    """The layer's codes by chain: [O, chains, length], zeros at ragged ends.

    Source: XNNPACK's qs8-gemm c2, c8 and c16 with ``mlal``, whose loop over a tap's channels adds two vectors of 8, and
    its depthwise ``mla8``, which adds two taps; ruy and gemmlowp go over all of a row in blocks of 16.
    """
    outputs, taps, channels = item.codes.shape
    if item.kind == "DEPTHWISE_CONV_2D":
        rows, lanes = item.codes.reshape(outputs, 1, taps), 1
    elif order == "xnnpack" or item.kind == "TRANSPOSE_CONV":  # whose taps are products of their own in both
        rows, lanes = item.codes, LANES
    else:
        rows, lanes = item.codes.reshape(outputs, 1, taps * channels), LANES
    missing = -rows.shape[2] % (lanes * length)
    padded = np.pad(rows, ((0, 0), (0, 0), (0, missing)))
    blocks = padded.reshape(outputs, -1, length, lanes)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2)).reshape(outputs, -1, length)
