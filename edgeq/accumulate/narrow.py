"""Accumulators on data: what their sums reach, and the network with accumulators too narrow for them.

A sum that fits is left to LiteRT. One that does not is wrapped around or saturated, and requantized here in float64,
which may differ by one code from integer rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeq.accumulate.columns import Matrix, layer_columns, products, weight_columns, whole_sums
from edgeq.accumulate.steps import Change, Steps
from edgeq.accumulate.sums import WeightedSum, activation_limits
from edgeq.progress import Task
from edgeq.tflite.model import Graph, Operator

__all__ = ["Narrow", "Observed", "narrowed", "observe", "run_narrow"]

Narrow = Literal["wrap", "clip"]


@dataclass(slots=True)
class Observed:
    """What a layer's accumulators held over the samples.

    Attributes:
        low, high: of whole sums.
        partial_low, partial_high: of every partial sum, from the bias on, by tap and channel as the file has them.
    """

    low: int = 0
    high: int = 0
    partial_low: int = 0
    partial_high: int = 0


def observe(
    graph: Graph, items: Sequence[WeightedSum], inputs: Sequence[NDArray[Any]], task: Task
) -> tuple[list[Observed], NDArray[np.int64]]:
    """Run samples and watch the sums.

    Args:
        graph: the file.
        items: its layers.
        inputs: an array an input of the file, samples first.
        task: advanced by a sample at a time.

    Returns:
        What each layer held, and the class of each sample.
    """
    found = [Observed() for _ in items]

    def watch(item: WeightedSum, seen: Observed) -> Change:
        operator = graph.operators[item.operator]

        def change(read: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
            columns = layer_columns(item, operator, read, given.shape)
            sums = whole_sums(item, columns)
            seen.low, seen.high = min(seen.low, int(sums.min())), max(seen.high, int(sums.max()))
            total = np.broadcast_to(item.bias, sums.shape).copy()
            least, most = int(total.min()), int(total.max())
            for part in products(item, columns):
                total += part
                least, most = min(least, int(total.min())), max(most, int(total.max()))
            seen.partial_low, seen.partial_high = min(seen.partial_low, least), max(seen.partial_high, most)
            return given

        return change

    changes = {item.operator: watch(item, seen) for item, seen in zip(items, found, strict=True)}
    return found, _classes(graph, items, inputs, changes, task)


def run_narrow(
    graph: Graph, items: Sequence[WeightedSum], inputs: Sequence[NDArray[Any]], bits: int, mode: Narrow, task: Task
) -> tuple[NDArray[np.int64], float]:
    """Run samples with accumulators of so many bits in every layer.

    Returns:
        The class of each sample, and the share of the sums that did not come out as they should.
    """
    counts = np.zeros(2, np.int64)

    def change_of(item: WeightedSum) -> Change:
        operator = graph.operators[item.operator]

        def change(read: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
            columns = layer_columns(item, operator, read, given.shape)
            right = whole_sums(item, columns)
            found = narrowed(item, columns, right, bits, mode)
            wrong = found != right
            counts[:] += wrong.sum(), wrong.size
            return _requantized(graph, operator, given, found, wrong) if wrong.any() else given

        return change

    classes = _classes(graph, items, inputs, {item.operator: change_of(item) for item in items}, task)
    return classes, float(counts[0] / max(counts[1], 1))


def narrowed(item: WeightedSum, columns: Matrix, right: Matrix, bits: int, mode: Narrow) -> Matrix:
    """The sums [P, O] as an accumulator of so many bits has them.

    Args:
        item: the layer.
        columns: its input, as :func:`~edgeq.accumulate.columns.layer_columns` gives it.
        right: the whole sums.
        bits: of the two's complement accumulator, which starts with the bias.
        mode: ``wrap`` around, or ``clip``: saturate at each addition, by tap and channel as the file has them.
    """
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if mode == "wrap":
        wrapped: Matrix = (right - low) % (1 << bits) + low
        return wrapped
    absolute = np.matmul(np.abs(columns).astype(np.float64), np.abs(weight_columns(item)).astype(np.float64))
    reach = absolute.transpose(1, 0, 2).reshape(right.shape) + np.abs(item.bias)
    rows = np.flatnonzero((reach > high).any(axis=1))  # a sum that cannot get there is what it is
    found = right.copy()
    if rows.size:
        total = np.broadcast_to(np.clip(item.bias, low, high), (rows.size, right.shape[1])).copy()
        for part in products(item, columns[:, rows]):
            np.clip(total + part, low, high, out=total)
        found[rows] = total
    return found


def _requantized(
    graph: Graph, operator: Operator, given: NDArray[Any], sums: Matrix, wrong: NDArray[np.bool_]
) -> NDArray[Any]:
    """What a layer gives, with the codes of other sums where they are wrong."""
    weights = graph.tensors[operator.inputs[1]].quantization
    source = graph.tensors[operator.inputs[2 if operator.kind == "TRANSPOSE_CONV" else 0]].quantization
    result = graph.tensors[operator.outputs[0]].quantization
    assert weights is not None and source is not None and result is not None
    factor = source.scale[0].astype(np.float64) * weights.scale.astype(np.float64) / result.scale[0].astype(np.float64)
    low, high = activation_limits(operator, result)
    codes = np.clip(np.rint(sums * factor) + int(result.zero_point[0]), low, high).astype(given.dtype)
    return np.where(wrong.reshape(given.shape), codes.reshape(given.shape), given)


def _classes(
    graph: Graph, items: Sequence[WeightedSum], inputs: Sequence[NDArray[Any]], changes: dict[int, Change], task: Task
) -> NDArray[np.int64]:
    steps = Steps(graph)
    reads = {
        item.operator: graph.operators[item.operator].inputs[2 if item.kind == "TRANSPOSE_CONV" else 0]
        for item in items
    }
    rows = []
    for i in range(len(inputs[0])):
        rows.append(steps.run([array[i : i + 1] for array in inputs], changes, reads)[0].ravel())
        task.advance(1)
    classes: NDArray[np.int64] = np.stack(rows).argmax(axis=1).astype(np.int64)
    return classes
