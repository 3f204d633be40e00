"""Histograms of every activation, in one pass over the samples: what is kept does not grow with them.

Bins are a power of two wide and start at multiples of it, so that two of them make one of twice the width: a range that
grows loses nothing, and the result does not depend on the order of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.onnx_session import open_session

__all__ = ["Histogram", "collect_histograms", "give_outputs"]

LEAST_EXPONENT = -100  # bins no narrower than 2^-100, so that their reciprocal is a float32
BITS = 22  # bins no narrower than 2^-22 of the largest magnitude, so that their numbers are exact


@dataclass(slots=True)
class Histogram:
    """Counts of values in bins of equal width.

    Attributes:
        limit: the most bins it may have; it has at least half as many unless the values are few.
        least, most: the smallest and largest value seen; not finite if a value was not.
        counts: int64 [B], of the bins from number ``first`` on.
        first: bin i holds the values from i * width up to (i + 1) * width.
        exponent: the width is 2 to this power.
    """

    limit: int
    least: float = math.inf
    most: float = -math.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    first: int = 0
    exponent: int = LEAST_EXPONENT

    @property
    def edges(self) -> NDArray[np.float64]:
        """Of the bins, [B + 1]."""
        numbers = np.arange(self.first, self.first + len(self.counts) + 1, dtype=np.float64)
        return np.ldexp(numbers, self.exponent)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count more values, of any shape."""
        new = self.least > self.most  # infinity and its negative: nothing was seen
        if not values.size or not (new or math.isfinite(self.most - self.least)):
            return
        least, most = float(values.min()), float(values.max())
        least, most = (math.nan, math.nan) if math.isnan(least) else (min(least, self.least), max(most, self.most))
        grown = (least, most) != (self.least, self.most)
        self.least, self.most = least, most
        if not math.isfinite(most - least):
            return
        if grown:
            self._widen()
        numbers = np.floor(values.ravel() * np.float32(2.0**-self.exponent)).astype(np.int32)
        numbers -= self.first
        self.counts += np.bincount(numbers, minlength=len(self.counts))

    def _widen(self) -> None:
        """Make room for the range seen."""
        exponent = max(self.exponent, math.frexp(max(abs(self.least), abs(self.most)))[1] - BITS)
        while _bin(self.most, exponent) - _bin(self.least, exponent) >= self.limit:
            exponent += 1
        first, last = _bin(self.least, exponent), _bin(self.most, exponent)
        counts = np.zeros(last - first + 1, np.int64)
        old = np.arange(self.first, self.first + len(self.counts)) >> (exponent - self.exponent)
        np.add.at(counts, old - first, self.counts)
        self.counts, self.first, self.exponent = counts, first, exponent


def _bin(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))


def collect_histograms(
    model: ir.Model, samples: Mapping[str, NDArray[np.float32]], bins: int, advance: Callable[[int], None]
) -> dict[str, Histogram]:
    """Run samples one by one through a float model of batch 1.

    Args:
        model: float ONNX, not changed.
        samples: one float32 array an input, samples first.
        bins: the most that a histogram may have.
        advance: called with 1 after each sample.

    Returns:
        By value name, of all that the nodes compute in float32, and of the inputs.
    """
    names = [
        str(value.name)
        for node in model.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT
    ]
    session = open_session(model, change=partial(give_outputs, names))
    found = {name: Histogram(bins) for name in (*samples, *names)}
    for i in range(len(next(iter(samples.values())))):
        feed = {name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()}
        for name, values in zip(names, session.run(names, feed), strict=True):
            found[name].add(values)
        for name, values in feed.items():
            found[name].add(values)
        advance(1)
    return found


def give_outputs(names: list[str], proto: onnx.ModelProto) -> None:
    """Let a model give the float values of these names, and nothing else."""
    del proto.graph.output[:]
    for name in names:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
