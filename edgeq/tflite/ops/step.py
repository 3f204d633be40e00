"""A step of an activation, such as its sign: Where one of two numbers, by a comparison with a number or one a channel.

As a comparison and a SELECT_V2 it runs in reference kernels only, dozens of instructions an element. Where the two
numbers are the ends of their grid, or of an activation that TFLite fuses, it is one depthwise convolution whose result
saturates, exact for every code, which XNNPACK has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.tflite.clamp import FUSED, NO_BOUNDS, Bounds
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.channels import channel_order, emit_channels
from edgeq.tflite.qdq_values import float_source, is_constant, read_real_constant

__all__ = ["first_codes", "lower_step"]

WEIGHT = 127
HALF = WEIGHT // 2


def first_codes(grid: Quantization, numbers: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """The first code of an int8 grid, -128 to 128, that is not below numbers; of GREATER and LESS_EQUAL, above them."""
    values = grid.scale[0] * (np.arange(-128, 128) - grid.zero_point[0]).astype(np.float32)
    side: Any = "left" if kind in ("GREATER_EQUAL", "LESS") else "right"
    return np.asarray(np.searchsorted(values, numbers.astype(np.float32), side) - 128)


def lower_step(low: Lowering, node: ir.Node, kind: str, slot: int) -> bool:
    """Lower a comparison together with the Where that alone reads it, if they are a step.

    Args:
        low, node: the graph and the comparison.
        kind: GREATER, GREATER_EQUAL, LESS or LESS_EQUAL, the activation on its left.
        slot: which of its inputs is the activation.

    Returns:
        Whether it was; else nothing is changed.
    """
    chosen = _where(node)
    if chosen is None or low.dtype != "int8":
        return False
    view = low.view(node.inputs[slot], node)
    numbers = read_real_constant(float_source(node.inputs[1 - slot], node), node)
    order = channel_order(view.layout.shape, numbers.shape)
    grid, after = low.grid(view.tensor), low.grid_after(chosen.outputs[0])
    if order is None or after is None or after.dtype != "int8" or not np.isfinite(numbers).all():
        return False
    shape = view.layout.shape
    if low.shape(chosen.outputs[0]) != shape or (len(shape) > 2 and view.layout != Layout.arranged(shape, order)):
        return False  # transposing would cost more than it saves
    branches = [float_source(value, chosen) for value in chosen.inputs[1:]]
    above, below = (after.codes(read_real_constant(value, chosen)).item() for value in branches)
    if kind.startswith("LESS"):
        above, below = below, above
    bounds = _bounds(after, min(above, below), max(above, below))
    if bounds is None:
        return False
    # 127 (q - first) + 63 is 63 or more from the first code on and -64 or less before it; 255 steps reach any end.
    sign = 1 if above > below else -1
    channels = shape[1]
    first = np.broadcast_to(first_codes(grid, numbers.ravel(), kind), channels)
    step = np.float32(255 / HALF * float(after.scale[0]) / float(grid.scale[0]))
    emit_channels(
        low,
        node,
        node.inputs[slot],
        order,
        np.full(channels, sign * WEIGHT, np.int8),
        np.full(1, step),
        sign * (WEIGHT * (grid.zero_point[0].astype(np.int64) - first) + HALF),
        bounds=bounds,
        result=chosen.outputs[0],
    )
    low.fused.add(chosen)
    return True


def _where(node: ir.Node) -> ir.Node | None:
    """The Where of two numbers that alone reads a comparison."""
    value = node.outputs[0]
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    user, slot = uses[0]
    branches = [float_source(branch, user) for branch in user.inputs[1:]] if user.op_type == "Where" else []
    single = all(is_constant(branch) and read_real_constant(branch, user).size == 1 for branch in branches)
    return user if branches and slot == 0 and single else None


def _bounds(grid: Quantization, lowest: float, highest: float) -> Bounds | None:
    """What TFLite must hold a saturating result to for these two codes to be its ends; None where it cannot."""
    if lowest == highest:
        return None
    return next((bounds for bounds in (NO_BOUNDS, *FUSED) if bounds.codes(grid) == (lowest, highest)), None)
