"""How a TFLite tensor holds an ONNX value: the order of its memory, and what becomes of it in a reshape or transpose.

A value's axes are products of factors, and a tensor's memory is the same factors in an order of its own. An image
[1, C, H, W] held as NHWC has the factors (H, W, C) in memory. A Reshape or Transpose of the value then only says
anew which factors make up which axis: nothing is moved until an operation asks for an order that the memory lacks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TO_NCHW", "TO_NHWC", "Layout", "Order", "canonical_order", "coalesce", "memory_blocks", "refine"]

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)

Order = Sequence[int | tuple[int, ...]]
"""A tensor's dimensions as axes of the ONNX value; a tuple is several axes as one, the empty tuple a dimension of 1."""


def canonical_order(rank: int) -> tuple[int, ...]:
    """NHWC for four dimensions, as it is for any other number."""
    return TO_NHWC if rank == 4 else tuple(range(rank))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tensor's memory has the parts of an ONNX value.

    Attributes:
        tensor_shape: the shape of the TFLite tensor.
        factors: sizes whose product is the tensor's size, in the order of its memory, outermost first; none is 1.
        axes: for each axis of the ONNX value, the factors (by index) that it is the product of, outermost first.
    """

    tensor_shape: tuple[int, ...]
    factors: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]

    @classmethod
    def arranged(cls, shape: tuple[int, ...], order: Order | None = None) -> Layout:
        """A value of an ONNX shape held in an order of its axes; the canonical one when left out."""
        factors: list[int] = []
        axes: list[tuple[int, ...]] = [()] * len(shape)
        sizes = []
        for item in canonical_order(len(shape)) if order is None else order:
            dimension = (item,) if isinstance(item, int) else item
            sizes.append(math.prod(shape[axis] for axis in dimension))
            for axis in dimension:
                if shape[axis] != 1:
                    axes[axis] = (len(factors),)
                    factors.append(shape[axis])
        return cls(tuple(sizes), tuple(factors), tuple(axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the ONNX value."""
        return tuple(math.prod(self.factors[i] for i in axis) for axis in self.axes)

    @property
    def order(self) -> tuple[int, ...]:
        """The factors in the order of the ONNX value."""
        return tuple(itertools.chain.from_iterable(self.axes))

    def transposed(self, permutation: Sequence[int]) -> Layout:
        return Layout(self.tensor_shape, self.factors, tuple(self.axes[axis] for axis in permutation))

    def padded(self, rank: int) -> Layout:
        """With axes of size 1 before the others, as broadcasting has them."""
        return Layout(self.tensor_shape, self.factors, ((),) * (rank - len(self.axes)) + self.axes)

    def reshaped(self, shape: Sequence[int]) -> Layout | None:
        """The same memory under another shape; None where an axis would have to be taken from parts that lie apart."""
        sizes, order = coalesce(self.factors, self.order)
        pieces = _Pieces(sizes)
        rest = iter(order)
        current, left = 0, 1
        axes = []
        for size in shape:
            axis = []
            while size > 1:
                if left == 1:
                    current = next(rest)
                    left = sizes[current]
                if (take := min(left, size)) != math.gcd(left, size):
                    return None
                axis.append(pieces.take(current, take))
                left, size = left // take, size // take
            axes.append(axis)
        return pieces.layout(self.tensor_shape, axes).aligned()

    def aligned(self) -> Layout:
        """With the factors split at the ends of the tensor's dimensions, where they can be."""
        sizes = tuple(size for size in self.tensor_shape if size > 1)
        tensor = Layout(self.tensor_shape, sizes, (tuple(range(len(sizes))),))
        pair = refine(Layout(self.tensor_shape, self.factors, (tuple(range(len(self.factors))),)), tensor)
        if pair is None:
            return self
        pieces: list[list[int]] = [[] for _ in self.factors]
        factor, left = -1, 1
        for i, size in enumerate(pair[0].factors):
            if left == 1:
                factor, left = factor + 1, self.factors[factor + 1]
            pieces[factor].append(i)
            left //= size
        axes = tuple(tuple(i for factor in axis for i in pieces[factor]) for axis in self.axes)
        return Layout(self.tensor_shape, pair[0].factors, axes)

    def axis_order(self) -> tuple[int, ...] | None:
        """The axes of the ONNX value in the order of the memory; None where an axis is in parts."""
        if any(tuple(range(axis[0], axis[0] + len(axis))) != axis for axis in self.axes if axis):
            return None
        memory = sorted((i for i, axis in enumerate(self.axes) if axis), key=lambda i: self.axes[i])
        ones = [i for i, axis in enumerate(self.axes) if not axis]
        rank = len(self.axes)
        for candidate in (canonical_order(rank), tuple(range(rank))):
            if [axis for axis in candidate if self.axes[axis]] == memory:
                return candidate
        return (*ones, *memory)

    def reduced(self, axes: Sequence[int], *, keep: bool) -> tuple[list[int], Layout] | None:
        """What becomes of the tensor where some axes are reduced: its dimensions to reduce and the result's layout.

        Args:
            axes: of the ONNX value, to be reduced.
            keep: whether they stay, with size 1.

        Returns:
            None where no dimension, or only a part of one, stands for them.
        """
        parts = memory_blocks(range(len(self.factors)), self.factors, self.tensor_shape)
        gone = {factor for axis in axes for factor in self.axes[axis]}
        if parts is None or any(0 < len(gone.intersection(part)) < len(part) for part in parts):
            return None
        dimensions = [i for i, part in enumerate(parts) if gone.intersection(part)]
        if not keep:  # dimensions of 1 that no axis is left for
            ones = [i for i, part in enumerate(parts) if not part]
            left = sum(not axis for i, axis in enumerate(self.axes) if i not in axes)
            dimensions = sorted((*dimensions, *ones[left:]))
        if not dimensions:
            return None
        place = {factor: i for i, factor in enumerate(i for i in range(len(self.factors)) if i not in gone)}
        shape = [
            1 if i in dimensions else size for i, size in enumerate(self.tensor_shape) if keep or i not in dimensions
        ]
        left_axes = [
            tuple(place[i] for i in axis if i in place) for i, axis in enumerate(self.axes) if keep or i not in axes
        ]
        return dimensions, Layout(tuple(shape), tuple(self.factors[i] for i in place), tuple(left_axes))

    def to_onnx(self, array: NDArray[Any]) -> NDArray[Any]:
        """The tensor's values as the ONNX value has them."""
        return np.ascontiguousarray(array.reshape(self.factors).transpose(self.order).reshape(self.shape))

    def to_tflite(self, array: NDArray[Any]) -> NDArray[Any]:
        """The ONNX value's values as the tensor has them."""
        parts = array.reshape([self.factors[i] for i in self.order])
        return np.ascontiguousarray(parts.transpose(np.argsort(self.order)).reshape(self.tensor_shape))


class _Pieces:
    """Factors on their way to being split: the pieces of each in order, outermost first."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes: list[list[int]] = [[] for _ in sizes]

    def take(self, factor: int, size: int) -> tuple[int, int]:
        self.sizes[factor].append(size)
        return factor, len(self.sizes[factor]) - 1

    def layout(self, tensor_shape: tuple[int, ...], axes: Sequence[Sequence[tuple[int, int]]]) -> Layout:
        starts = [0, *itertools.accumulate(len(part) for part in self.sizes)]
        numbered = tuple(tuple(starts[factor] + piece for factor, piece in axis) for axis in axes)
        return Layout(tensor_shape, tuple(itertools.chain.from_iterable(self.sizes)), numbered)


def coalesce(factors: Sequence[int], order: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Neighbours that stay neighbours as one: the fewest factors in memory order, and the order that they are read in.

    Args:
        factors: sizes in the order of the memory.
        order: the factors as they are wanted.
    """
    runs: list[list[int]] = []
    for factor in order:
        if runs and factor == runs[-1][-1] + 1:
            runs[-1].append(factor)
        else:
            runs.append([factor])
    memory = sorted(runs)
    place = {run[0]: i for i, run in enumerate(memory)}
    sizes = tuple(math.prod(factors[i] for i in run) for run in memory)
    return sizes, tuple(place[run[0]] for run in runs)


def memory_blocks(order: Sequence[int], sizes: Sequence[int], shape: Sequence[int]) -> list[list[int]] | None:
    """The factors that make up each dimension of a shape; None where one is not a run of neighbours in memory."""
    rest: Iterator[tuple[int, int]] = iter(zip(order, sizes, strict=True))
    parts = []
    for size in shape:
        part: list[int] = []
        while size > 1:
            factor, taken = next(rest)
            if size % taken or (part and factor != part[-1] + 1):
                return None
            part.append(factor)
            size //= taken
        parts.append(part)
    return parts


def refine(first: Layout, second: Layout) -> tuple[Layout, Layout] | None:
    """Two layouts of one shape, with every axis split into the same factors in both; None where there are none."""
    pieces = _Pieces(first.factors), _Pieces(second.factors)
    axes: tuple[list[Any], list[Any]] = ([], [])
    for one, other in zip(first.axes, second.axes, strict=True):
        split: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        rests = _sizes(first, one), _sizes(second, other)
        (i, left), (j, right) = next(rests[0], (0, 1)), next(rests[1], (0, 1))
        while left > 1:
            if (take := min(left, right)) != math.gcd(left, right):
                return None
            split[0].append(pieces[0].take(i, take))
            split[1].append(pieces[1].take(j, take))
            left, right = left // take, right // take
            if left == 1:
                i, left = next(rests[0], (0, 1))
            if right == 1:
                j, right = next(rests[1], (0, 1))
        axes[0].append(split[0])
        axes[1].append(split[1])
    return pieces[0].layout(first.tensor_shape, axes[0]), pieces[1].layout(second.tensor_shape, axes[1])


def _sizes(layout: Layout, axis: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return iter([(factor, layout.factors[factor]) for factor in axis])
