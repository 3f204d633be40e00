"""Relu and Clip as bounds on codes: what an output grid does by itself, what TFLite fuses, and what is left over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.model import Quantization
from edgeq.tflite.qdq_values import float_source, following_bias, is_constant, node_name, read_real_constant

__all__ = ["NO_BOUNDS", "Bounds", "bounds_of", "following_clamp", "result_of"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values that are left: low to high."""

    low: float = -math.inf
    high: float = math.inf

    def within(self, other: Bounds) -> Bounds:
        """These bounds first, the others after: as a Clip computes, an upper bound wins over a lower one above it."""
        low, high = (min(max(end, other.low), other.high) for end in (self.low, self.high))
        return Bounds(low, high)

    def codes(self, grid: Quantization) -> tuple[float, float]:
        """The smallest and largest code that is left on a grid, as QuantizeLinear rounds the bounds."""
        least, most = grid.codes(np.array([self.low, self.high])).tolist()
        return least, most

    def on(self, grid: Quantization) -> tuple[float | None, float | None]:
        """The codes to clamp to; None for an end that the grid's own end is within."""
        least, most = self.codes(grid)
        smallest, largest = grid.limits
        return (None if least <= smallest else least), (None if most >= largest else most)

    @property
    def fused(self) -> int:
        """TFLite's fused activation with these bounds; NONE where there is none."""
        return int(FUSED.get(self, schema.ActivationFunctionType.NONE))


NO_BOUNDS = Bounds()
FUSED = {
    Bounds(0.0): schema.ActivationFunctionType.RELU,
    Bounds(0.0, 6.0): schema.ActivationFunctionType.RELU6,
    Bounds(-1.0, 1.0): schema.ActivationFunctionType.RELU_N1_TO_1,
}


def bounds_of(node: ir.Node) -> Bounds | None:
    """What a Relu or Clip leaves; None of another operation, and of a Clip with bounds that are computed.

    Raises:
        ExportError: a bound is NaN.
    """
    if node.op_type == "Relu":
        return Bounds(0.0)
    if node.op_type != "Clip":
        return None
    ends = []
    for slot, open_end in ((1, -math.inf), (2, math.inf)):
        value = node.inputs[slot] if len(node.inputs) > slot else None
        if value is None:
            ends.append(open_end)
        elif is_constant(float_source(value, node)):
            ends.append(float(read_real_constant(value, node).item()))
        else:
            return None
    if any(math.isnan(end) for end in ends):
        raise ExportError("a bound is not a number", where=node_name(node), got=ends)
    return Bounds(min(ends), ends[1])


def following_clamp(value: ir.Value) -> tuple[ir.Value, Bounds, list[ir.Node]]:
    """Follow the Relu and Clip that alone read an unquantized value.

    Returns:
        The value after them, what they leave together, and the nodes.
    """
    bounds, nodes = NO_BOUNDS, []
    while len(uses := list(value.uses())) == 1 and not value.is_graph_output():
        user, slot = uses[0]
        more = bounds_of(user) if slot == 0 else None
        if more is None:
            break
        bounds, value = bounds.within(more), user.outputs[0]
        nodes.append(user)
    return value, bounds, nodes


def result_of(node: ir.Node) -> ir.Value:
    """The value that a node's result is rounded as: behind the bias of a product and the Relu and Clip that follow."""
    value = node.outputs[0]
    if node.op_type == "MatMul" and (bias := following_bias(node)) is not None:
        value = bias[0].outputs[0]
    return following_clamp(value)[0]
