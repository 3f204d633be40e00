"""Choose the int8 grid of every activation, so that TFLite's rules hold before Q and DQ are placed.

TFLite's kernels want one grid on both sides of a pool, a reshape, a concatenation and their like, and fixed grids after
softmax, logistic and tanh. Values that must share a grid are joined first; a grid is then chosen once for each group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.grid import asymmetric_grid, fixed_point_grid
from edgeq.tflite.gelu import find_gelus
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.ops.activation import fixed_grid

__all__ = [
    "PIXEL_GRID",
    "ActivationGrid",
    "GridGroup",
    "activation_grids",
    "activation_values",
    "grid_groups",
    "is_real",
]


@dataclass(frozen=True, slots=True)
class ActivationGrid:
    """real = scale * (code - zero_point), codes of all int8 or int16.

    Attributes:
        scale: positive; exactly a float32.
        zero_point: the code of real zero; 0 of int16, as TFLite's kernels want.
        dtype: ``int8`` or ``int16``.
    """

    scale: float
    zero_point: int
    dtype: str = "int8"

    @classmethod
    def from_range(cls, low: float, high: float, dtype: str = "int8", *, power_of_two: bool = False) -> ActivationGrid:
        """The grid over [low, high] widened to hold zero, which is then exactly a code; symmetric of int16."""
        if power_of_two:
            return cls(*fixed_point_grid(low, high, dtype), dtype)
        if dtype == "int8":
            return cls(*asymmetric_grid(low, high))
        scale = float(np.float32(max(abs(low), abs(high)) / np.iinfo(dtype).max))
        return cls(scale if scale >= np.finfo(np.float32).tiny else 1.0, 0, dtype)

    @property
    def low(self) -> float:
        return self.scale * (int(np.iinfo(self.dtype).min) - self.zero_point)

    @property
    def high(self) -> float:
        return self.scale * (int(np.iinfo(self.dtype).max) - self.zero_point)

    def covers(self, low: float, high: float) -> bool:
        """Whether a range fits, give or take one step at each end."""
        return self.low - self.scale <= low and high <= self.high + self.scale


PIXEL_GRID = ActivationGrid(1 / 128, 0)
"""The grid of (pixel - 128) / 128: the int8 code is the pixel - 128."""


@dataclass(frozen=True, slots=True)
class GridGroup:
    """Values that must share a grid.

    Attributes:
        members: their names.
        given: the grids of those that are pinned, or that TFLite fixes.
        dtype: of the codes.
        power_of_two: whether the scales of the others are powers of two.
    """

    members: tuple[str, ...]
    given: Mapping[str, ActivationGrid]
    dtype: str = "int8"
    power_of_two: bool = False

    def grids(self, ranges: Mapping[str, tuple[float, float]]) -> dict[str, ActivationGrid]:
        """By member, the grid that is given if all the others fit it, else that of the joined range."""
        low = min(ranges[name][0] for name in self.members)
        high = max(ranges[name][1] for name in self.members)
        distinct = set(self.given.values())
        if len(distinct) == 1 and (grid := next(iter(distinct))).covers(low, high):
            return dict.fromkeys(self.members, grid)
        grid = ActivationGrid.from_range(low, high, self.dtype, power_of_two=self.power_of_two)
        return {name: self.given.get(name, grid) for name in self.members}


def activation_values(model: ir.Model) -> list[ir.Value]:
    """The float activations of a model in order: inputs and what its nodes compute, but indices and truth values."""
    values = list(model.graph.inputs)
    for node in model.graph:
        if node.op_type != "Constant":
            values += results_of(node)
    return [value for value in values if is_real(value)]


def results_of(node: ir.Node) -> Sequence[ir.Value]:
    """What a node computes: the parts of a Split, and the first output of any other."""
    return node.outputs if node.op_type == "Split" else node.outputs[:1]


def is_real(value: ir.Value) -> bool:
    """Whether a value has real numbers, and so a grid: not an index or a truth value."""
    return value.dtype in (None, ir.DataType.FLOAT)


def activation_grids(
    model: ir.Model,
    ranges: Mapping[str, tuple[float, float]],
    pinned: Mapping[str, ActivationGrid],
    dtype: str = "int8",
    *,
    power_of_two: bool = False,
) -> dict[str, ActivationGrid]:
    """A grid for each activation.

    Args:
        model: float, batch norms folded, every operation in the operations table.
        ranges: the calibrated (low, high) of each activation by name.
        pinned: grids that are given, such as the pixel grid of an input; those of the type are used.
        dtype: of the codes, ``int8`` or ``int16``.
        power_of_two: whether their scales are powers of two.

    Returns:
        The grids by value name.

    Raises:
        ExportError: a range is not finite; names the value.
    """
    for name, (low, high) in ranges.items():
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ExportError(
                "the calibrated range cannot be used",
                where=f"value {name}",
                got=(low, high),
                remedy="look for NaN or infinity in the network or the calibration images",
            )
    grids: dict[str, ActivationGrid] = {}
    for group in grid_groups(model, pinned, dtype, power_of_two=power_of_two):
        grids |= group.grids(ranges)
    return grids


def grid_groups(
    model: ir.Model, pinned: Mapping[str, ActivationGrid], dtype: str = "int8", *, power_of_two: bool = False
) -> list[GridGroup]:
    """The activations that must share a grid, each in one group; arguments as of :func:`activation_grids`."""
    groups = _Groups()
    given = {name: grid for name, grid in pinned.items() if grid.dtype == dtype}
    fixed: dict[str, ActivationGrid] = {}
    inner = {node for chain in find_gelus(model.graph) for node in chain.inner}
    for node in model.graph:
        if node in inner:
            continue
        row = OPERATIONS[node.op_type]
        results = [str(value.name) for value in results_of(node) if is_real(value)]
        for name in results:
            groups.find(name)
            if row.fixed_grid is not None:
                fixed[name] = _fixed(row.fixed_grid, dtype)
        if row.grid == "same":
            members = [*_real_inputs(node), *results]
            for name in members[1:]:
                groups.join(name, members[0])
    for value in model.graph.inputs:
        groups.find(str(value.name))
    given = fixed | given
    return [
        GridGroup(tuple(members), {name: given[name] for name in members if name in given}, dtype, power_of_two)
        for members in groups.members()
    ]


def _fixed(grid: tuple[float, int], dtype: str) -> ActivationGrid:
    made = fixed_grid(dtype, grid)
    return ActivationGrid(float(made.scale[0]), int(made.zero_point[0]), dtype)


def _real_inputs(node: ir.Node) -> list[str]:
    """The activations among a node's inputs."""
    return [str(value.name) for value in node.inputs if value and value.const_value is None and is_real(value)]


class _Groups:
    """Disjoint sets of names, in order of first appearance."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        self.parent.setdefault(name, name)
        root = name
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[name] != root:
            self.parent[name], name = root, self.parent[name]
        return root

    def join(self, first: str, second: str) -> None:
        self.parent[self.find(second)] = self.find(first)

    def members(self) -> list[list[str]]:
        sets: dict[str, list[str]] = {}
        for name in self.parent:
            sets.setdefault(self.find(name), []).append(name)
        return list(sets.values())
