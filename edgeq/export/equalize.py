"""Equalization across layers: a factor a channel moved from one layer into the next, so that grids are better used.

A function with f(s x) = s f(x) for s > 0 stands between the two (a Relu, a pool, nothing), so the network computes what
it did. Only weights that have no grid yet are moved.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.export.layer_parts import along_outputs, bias_place, has_weights, output_axis, parameter_of, step_repeats

__all__ = ["Pair", "equalize", "find_pairs"]

HOMOGENEOUS = frozenset(
    {
        "AveragePool",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "PRelu",
        "Relu",
    }
)
FLATTENING = frozenset({"Flatten", "ReduceMean", "Reshape", "Squeeze"})
SWEEPS = 40
DONE = 1e-3  # the largest change of a factor's logarithm in the last sweep

Factors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers with nothing but homogeneous operations between them.

    Attributes:
        first, second: their nodes.
    """

    first: ir.Node
    second: ir.Node


@dataclass(slots=True)
class _Layer:
    """The largest magnitude of each kernel of a layer, [O, I / groups], and what it is to be multiplied by."""

    groups: int
    peaks: NDArray[np.float32]
    rows: Factors = field(init=False)
    columns: Factors = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.ones(self.peaks.shape[0])
        self.columns = np.ones(self.peaks.shape[1] * self.groups)

    def scaled(self) -> NDArray[np.float64]:
        """By group, [G, O / G, I / G]."""
        outputs, inputs = self.peaks.shape
        peaks = self.peaks.reshape(self.groups, outputs // self.groups, inputs).astype(np.float64)
        return peaks * self.rows.reshape(self.groups, -1, 1) * self.columns.reshape(self.groups, 1, -1)

    def of_outputs(self) -> Factors:
        largest: Factors = self.scaled().max(axis=2).ravel()
        return largest

    def of_inputs(self) -> Factors:
        largest: Factors = self.scaled().max(axis=1).ravel()
        return largest


def equalize(model: ir.Model, trained: Container[str]) -> list[Pair]:
    """Even the ranges of the channels between each pair of layers.

    Args:
        model: float, batch norms folded; its weights and biases are changed in place.
        trained: initializers that have a grid; they are not moved.

    Returns:
        The pairs that were evened.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.1: ``s_i = sqrt(r1_i r2_i) / r2_i``.
    """
    pairs = find_pairs(model, trained)
    layers: dict[ir.Node, _Layer] = {}
    for node in {node: None for pair in pairs for node in (pair.first, pair.second)}:
        layers[node] = _layer(node)
    for _ in range(SWEEPS):
        change = 0.0
        for pair in pairs:
            first, second = layers[pair.first], layers[pair.second]
            factor = _factor(first.of_outputs(), second.of_inputs())
            first.rows /= factor
            second.columns *= factor
            change = max(change, float(np.abs(np.log(factor)).max()))
        if change < DONE:
            break
    for node, layer in layers.items():
        _apply(node, layer)
    return pairs


def _factor(before: Factors, after: Factors) -> Factors:
    """What the first layer's channels are divided by; 1 where a channel is not used on a side."""
    used = (before > 0) & (after > 0)
    factor = np.ones_like(before, np.float64)
    factor[used] = np.sqrt(before[used] / after[used])
    return factor


def find_pairs(model: ir.Model, trained: Container[str]) -> list[Pair]:
    """Layers in order whose output goes, through homogeneous operations alone, into one other layer alone."""
    found = []
    for node in model.graph:
        if not _movable(node, trained) or step_repeats(node) != 1:
            continue
        value = _result(node)
        while (user := _only_user(value)) is not None and _keeps_channels(user, value):
            value = user.outputs[0]
        if user is not None and _movable(user, trained) and user.inputs[0] is value and _fits(node, user):
            found.append(Pair(node, user))
    return found


def _movable(node: ir.Node, trained: Container[str]) -> bool:
    if not has_weights(node) or node.attributes.get_int("transA", 0) == 1:
        return False
    stored = node.inputs[1]
    assert stored is not None
    place = bias_place(node)
    bias = None if place is None else place[0].inputs[place[1]]
    alone = all(len(value.uses()) == 1 for value in (stored, bias) if value is not None)
    return alone and parameter_of(stored) not in trained


def _result(node: ir.Node) -> ir.Value:
    place = bias_place(node) if node.op_type == "MatMul" else None
    return (node if place is None else place[0]).outputs[0]


def _only_user(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0][0] if len(uses) == 1 and uses[0][1] == 0 and not value.is_graph_output() else None


def _keeps_channels(node: ir.Node, value: ir.Value) -> bool:
    """Whether an operation is homogeneous, with channel i of its input in channel i of its output."""
    if node.op_type in HOMOGENEOUS:
        return all(not output.uses() for output in node.outputs[1:])
    if node.op_type not in FLATTENING:
        return False
    before, after = value.shape, node.outputs[0].shape
    if before is None or after is None or len(before) < 3 or len(after) < 2 or before[:2] != after[:2]:
        return False
    if node.op_type == "ReduceMean":
        axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
        return axes is not None and bool((axes.numpy() % len(before) >= 2).all())
    return all(size == 1 for size in (*before[2:], *after[2:]))


def _fits(first: ir.Node, second: ir.Node) -> bool:
    """Whether both have their channels on the same axis of the value between them, and as many."""
    last = {"MatMul"}
    if (first.op_type in last) != (second.op_type in last):
        return False
    return len(_layer(first).rows) == len(_layer(second).columns)


def _layer(node: ir.Node) -> _Layer:
    stored = node.inputs[1]
    assert stored is not None and stored.const_value is not None
    groups = node.attributes.get_int("group", 1)
    values = _outputs_first(node, np.abs(stored.const_value.numpy()))
    return _Layer(groups, values.reshape(*values.shape[:2], -1).max(axis=2))


def _outputs_first(node: ir.Node, values: NDArray[Any]) -> NDArray[Any]:
    """A weight as [O, I / groups, ...]; the layout of a transposed convolution is [I, O / groups, ...]."""
    if node.op_type == "ConvTranspose":
        groups = node.attributes.get_int("group", 1)
        split = values.reshape(groups, values.shape[0] // groups, *values.shape[1:])
        return split.swapaxes(1, 2).reshape(-1, split.shape[1], *values.shape[2:])
    return values if output_axis(node) == 0 else values.T


def _apply(node: ir.Node, layer: _Layer) -> None:
    stored, place = node.inputs[1], bias_place(node)
    assert stored is not None and stored.const_value is not None
    values = stored.const_value.numpy().astype(np.float64)
    if node.op_type == "Conv":
        split = values.reshape(layer.groups, -1, *values.shape[1:])
        ones = [1] * (values.ndim - 2)
        values = (split * layer.columns.reshape(layer.groups, 1, -1, *ones)).reshape(values.shape)
    else:  # [I, ...], or a Gemm's [O, I]
        values = values * along_outputs(layer.columns, values.ndim, 1 - output_axis(node) if values.ndim == 2 else 0)
    values = values * _along_rows(node, layer, values.ndim)
    stored.const_value = ir.tensor(values.astype(np.float32), name=stored.name)
    bias = None if place is None else place[0].inputs[place[1]]
    if bias is not None and bias.const_value is not None:
        scaled = bias.const_value.numpy().astype(np.float64) * layer.rows
        bias.const_value = ir.tensor(scaled.astype(np.float32), name=bias.name)


def _along_rows(node: ir.Node, layer: _Layer, ndim: int) -> Factors:
    if node.op_type == "ConvTranspose" and step_repeats(node) != 1:  # was first of no pair
        return np.ones(1)
    return along_outputs(layer.rows, ndim, output_axis(node))
