"""Rounding of activations to int8 grids with a straight-through gradient, and the ranges of these grids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from edgeq.activations.sites import Sites
from edgeq.errors import ModelError
from edgeq.export.activations import ActivationGrid

__all__ = ["ActivationRounding", "round_to"]

MOMENTUM: Final = 0.9
SHARE: Final = 0.9
QMIN, QMAX = -128, 127


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float, zero_point: int) -> Tensor:
        least, most = QMIN - zero_point, QMAX - zero_point
        ctx.save_for_backward(values)
        ctx.bounds = (least - 0.5) * scale, (most + 0.5) * scale
        return values.div(scale).round_().clamp_(least, most).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (values,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], values, *ctx.bounds), None, None


def round_to(values: Tensor, grid: ActivationGrid) -> Tensor:
    """Values on an int8 grid, clipped to its ends; the gradient is that of the clipping alone.

    Source: Jacob et al. 2017, arXiv:1712.05877, section 3; Bengio et al. 2013, arXiv:1308.3432 (straight-through).
    """
    rounded: Tensor = _Round.apply(values, grid.scale, grid.zero_point)  # type: ignore[no-untyped-call]
    return rounded


class ActivationRounding:
    """What a network's forward pass does to its activations, call by call.

    Attributes:
        sites: where.
        seen: the moving average of each value's range, by name.
        grids: what is rounded to, by the number of the call.
        rounding: whether values are rounded; they never are before a range was seen.
        watching: whether the ranges follow what passes.
    """

    def __init__(self, sites: Sites, seen: Mapping[str, tuple[float, float]] | None = None) -> None:
        self.sites = sites
        self.rounding, self.watching = True, False
        self.seen: dict[str, tuple[float, float]] = {}
        self.grids: dict[int, ActivationGrid] = {}
        self._ends: dict[str, Tensor] = {}
        if seen:
            self.load(seen)

    def load(self, seen: Mapping[str, Sequence[float]]) -> None:
        """Take the ranges of an earlier training; none where it had seen none.

        Raises:
            ValueError: they are not of this network's values, or no ranges.
        """
        if not seen:
            return
        if seen.keys() != set(self.sites.names.values()):
            raise ValueError("ranges of other activations")
        pairs = {str(name): (float(low), float(high)) for name, (low, high) in seen.items()}
        if not all(math.isfinite(high - low) and low <= high for low, high in pairs.values()):
            raise ValueError("an activation's range is not one")
        self._take(pairs)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of every value that shares a grid with one that is rounded, for the exporter."""
        return self.sites.ranges(self.seen)

    def visit(self, number: int, function: str, result: Tensor) -> Tensor:
        """The result of a call, on its grid if it has one."""
        calls = self.sites.calls
        if number >= len(calls) or calls[number] != function:
            raise ModelError(
                "the network computes other things in training than in evaluation",
                where=f"call {number} of a torch function",
                got=function,
                wanted=calls[number] if number < len(calls) else "no more calls",
                remedy="train with --activations float",
            )
        name = self.sites.names.get(number)
        if name is None:
            return result
        if self.watching:
            self._ends[name] = _ends(result.detach())
        if not self.rounding or number not in self.grids:
            return result
        return round_to(result, self.grids[number])

    def finish(self) -> None:
        """At the end of a forward pass: let the ranges follow what it saw."""
        if not self._ends:
            return
        ends = torch.stack(list(self._ends.values())).tolist()
        found = {name: (low, high) for name, (low, high) in zip(self._ends, ends, strict=True)}
        self._ends.clear()
        self._take({name: _follow(self.seen.get(name), item) for name, item in found.items()})

    def _take(self, seen: Mapping[str, tuple[float, float]]) -> None:
        self.seen = dict(seen)
        grids = self.sites.grids(self.seen)
        self.grids = {number: grids[name] for number, name in self.sites.names.items()}


def _ends(values: Tensor) -> Tensor:
    """What the smallest and the largest value of nine images of ten stay within: one image that is unlike all others
    would take most of a grid's codes."""
    axes = tuple(range(1, values.dim()))
    low, high = values.amin(axes).float(), values.amax(axes).float()
    return torch.stack([low.quantile(1 - SHARE), high.quantile(SHARE)])


def _follow(before: tuple[float, float] | None, now: tuple[float, float]) -> tuple[float, float]:
    """A moving average, each end by itself."""
    if before is None:
        return now
    low, high = (MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(before, now, strict=True))
    return low, high
