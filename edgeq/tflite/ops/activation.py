"""Functions of one value that TFLite has int8 kernels for, and Softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.clamp import Bounds, bounds_of, following_clamp
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import FLOAT, Quantization
from edgeq.tflite.operands import broadcast_operands
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.table import look_up
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_real_constant

__all__ = ["ACTIVATION", "SCORE_GRID", "fixed_grid"]

SCORE_GRID = (1 / 256, -128)  # TFLite's quantization specification: softmax and logistic
TANH_GRID = (1 / 128, 0)
INT16_GRID = (1 / 32768, 0)
FLOAT_CLAMPS = {Bounds(0.0): "RELU", Bounds(0.0, 6.0): "RELU6", Bounds(-1.0, 1.0): "RELU_N1_TO_1"}
ADD_RATIOS = (2**-10, 2**8)  # of input to output scale, that XNNPACK's int8 ADD takes; LiteRT's own overflows beyond
FINER = 0.9  # below this, what the kernel rounds away would be more than a code


def _unary(
    low: Lowering,
    node: ir.Node,
    kind: str,
    options: Any = None,
    *,
    version: int = 2,
    forced: tuple[float, int] | None = None,
) -> None:
    """Each value for itself: in whatever layout it is."""
    view = low.view(node.inputs[0], node)
    fixed = None if forced is None else fixed_grid(low.dtype, forced)
    low.emit(node, kind, [view.tensor], options, layout=view.layout, version=version, forced=fixed)


def fixed_grid(dtype: str, grid: tuple[float, int]) -> Quantization:
    """The grid that a kernel insists on in the type that it computes in, given that of int8; of int16 it is [-1, 1)."""
    if dtype == "float32":
        return FLOAT
    return Quantization.per_tensor(*(INT16_GRID if dtype == "int16" else grid), dtype)


def clamp(low: Lowering, node: ir.Node) -> None:
    """Relu, or Clip with any bounds: what the output's grid does not cut off by itself, MAXIMUM and MINIMUM do.

    (LiteRT's int8 RELU, RELU6 and their like are no XNNPACK operations, and 30 times slower than QUANTIZE and MAXIMUM.)
    """
    bounds = bounds_of(node)
    if bounds is None:
        raise ExportError(
            "a Clip with bounds that are computed is not lowered", where=node_name(node), wanted="constant bounds"
        )
    value, more, nodes = following_clamp(node.outputs[0])
    low.fused.update(nodes)
    view, grid, name = low.view(node.inputs[0], node), low.grid_after(value), f"{value.name}"
    if grid is None:
        raise ExportError("its result is not quantized", where=node_name(node), wanted="QuantizeLinear after it")
    bounds = bounds.within(more)
    if low.dtype == "float32":
        grid = FLOAT
        if (kind := FLOAT_CLAMPS.get(bounds)) is not None:
            low.emit(node, kind, [view.tensor], layout=view.layout, result=value)
            return
    ends = bounds.on(grid)
    if ends[0] is not None and bounds.low <= low.grid(view.tensor).lowest:  # it has nothing below
        ends = (None, ends[1])
    if ends == (None, None):
        if grid.same_grid(low.grid(view.tensor)):
            low.pass_on(node, view, value)
        else:
            low.emit(node, "QUANTIZE", [view.tensor], schema.QuantizeOptionsT(), layout=view.layout)
        return
    source = low.requantize(view.tensor, grid, f"{name}/requantized")
    low.clamp(value, source, ends, view.layout)


def leaky_relu(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "LEAKY_RELU", schema.LeakyReluOptionsT(alpha=node.attributes.get_float("alpha", 0.01)))


def prelu(low: Lowering, node: ir.Node) -> None:
    """The larger of x and slope x for slopes up to 1, the smaller for slopes from 1, each on the result's grid; PRELU
    for a mixture. (LiteRT's int8 PRELU is no XNNPACK operation, and 30 times slower.)"""
    slope_value = float_source(node.inputs[1], node)
    if not is_constant(slope_value):
        raise ExportError(
            "a PRelu with slopes that are computed is not lowered", where=node_name(node), wanted="constant slopes"
        )
    slopes = read_real_constant(slope_value, node)
    (source, slope), layout = broadcast_operands(low, node)
    if low.dtype == "float32":
        low.emit(node, "PRELU", [source, slope], layout=layout)
        return
    kind = "MAXIMUM" if np.all(slopes <= 1) else "MINIMUM" if np.all(slopes >= 1) else None
    if kind is None:
        low.emit(node, "PRELU", [source, slope], layout=layout)
        return
    grid, name = low.result_grid(node), f"{node.outputs[0].name}"
    steep = low.add_activation(f"{name}/sloped", layout.tensor_shape, grid)
    low.add_operator("MUL", [source, slope], [steep], schema.MulOptionsT(), version=2)
    straight = low.requantize(source, grid, f"{name}/straight")
    low.emit(node, kind, [straight, steep], schema.MaximumMinimumOptionsT(), layout=layout, version=2)


def sigmoid(low: Lowering, node: ir.Node) -> None:
    _on_fixed_grid(low, node, "LOGISTIC", SCORE_GRID, lambda x: 1 / (1 + np.exp(-x)))


def tanh(low: Lowering, node: ir.Node) -> None:
    _on_fixed_grid(low, node, "TANH", TANH_GRID, np.tanh)


def _on_fixed_grid(
    low: Lowering, node: ir.Node, kind: str, grid: tuple[float, int], function: Callable[[Any], Any]
) -> None:
    """By TFLite's kernel, and a QUANTIZE where ONNX has another grid; by a table where that is finer."""
    if low.dtype == "int8" and low.result_grid(node).scale[0] < FINER * grid[0]:
        look_up(low, node, function)
    else:
        _unary(low, node, kind, forced=grid)


def hard_sigmoid(low: Lowering, node: ir.Node) -> None:
    """relu6(x + beta / alpha) / 6 where alpha is 1/6, as torch has it; a table for other slopes.

    The sum's grid is the result's with six times the scale, so that the MUL only tells the new scale: every code stays.
    """
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    view, grid, name = low.view(node.inputs[0], node), low.result_grid(node), f"{node.outputs[0].name}"
    ratio = low.grid(view.tensor).scale[0] / (6 * grid.scale[0]) if low.dtype == "int8" else 1
    if abs(6 * alpha - 1) > 1e-6 or beta <= 0 or not ADD_RATIOS[0] <= ratio < ADD_RATIOS[1]:
        look_up(low, node, lambda x: np.clip(alpha * x + beta, 0, 1))
        return
    rank = len(view.layout.tensor_shape)
    shift = low.add_number(f"{name}/beta", 6 * beta, rank, low.dtype)
    factor = low.add_number(f"{name}/alpha", 1 / 6, rank, low.dtype)
    total = low.add_activation(f"{name}/relu6", low.tensors[view.tensor].shape, grid.times(6))
    options = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU6)
    low.add_operator("ADD", [view.tensor, shift], [total], options, version=2)
    low.emit(node, "MUL", [total, factor], schema.MulOptionsT(), layout=view.layout, version=2)


def exp(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "EXP", schema.ExpOptionsT())


def log(low: Lowering, node: ir.Node) -> None:
    """Of a code that is not above zero, the smallest code."""
    _unary(low, node, "LOG")


def absolute(low: Lowering, node: ir.Node) -> None:
    """A value times its sign, which is a product that saturates: XNNPACK multiplies int8, and has no ABS of it."""
    if low.dtype != "int8":
        _unary(low, node, "ABS", schema.AbsOptionsT())
        return
    view, name = low.view(node.inputs[0], node), f"{node.outputs[0].name}"
    shape = low.tensors[view.tensor].shape
    steep = low.add_number(f"{name}/steep", 2 / low.grid(view.tensor).scale[0].item(), len(shape), low.dtype)
    sign = low.add_activation(f"{name}/sign", shape, Quantization.per_tensor(np.float32(1 / 127), 0))
    options = schema.MulOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU_N1_TO_1)
    low.add_operator("MUL", [view.tensor, steep], [sign], options, version=2)
    low.emit(node, "MUL", [view.tensor, sign], schema.MulOptionsT(), layout=view.layout, version=2, fuse=True)


def hard_swish(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "HARD_SWISH", version=1)


def softmax(low: Lowering, node: ir.Node) -> None:
    """Over any axis, which is brought last; of an image's channels that is where it is."""
    rank = len(low.shape(node.outputs[0]))
    order = low.axis_order(node.inputs[0], node, last=node.attributes.get_int("axis", -1) % rank)
    source = low.activation(node.inputs[0], node, order)
    layout = Layout.arranged(low.shape(node.outputs[0]), order)
    options = schema.SoftmaxOptionsT(beta=1.0)
    low.emit(node, "SOFTMAX", [source], options, layout=layout, version=2, forced=fixed_grid(low.dtype, SCORE_GRID))


ACTIVATION = (
    Operation("Relu", "fused, or QUANTIZE, MAXIMUM", clamp),
    Operation("Clip", "fused, or QUANTIZE, MAXIMUM, MINIMUM", clamp, limits="constant bounds"),
    Operation("LeakyRelu", "LEAKY_RELU", leaky_relu),
    Operation("Sigmoid", "LOGISTIC or CAST, GATHER", sigmoid, fixed_grid=SCORE_GRID),
    Operation("Tanh", "TANH or CAST, GATHER", tanh, fixed_grid=TANH_GRID),
    Operation("PRelu", "QUANTIZE, MUL, MAXIMUM or MINIMUM, or PRELU", prelu, limits="constant slopes"),
    Operation("HardSigmoid", "ADD, MUL or CAST, GATHER", hard_sigmoid),
    Operation("Exp", "EXP", exp),
    Operation("Log", "LOG", log),
    Operation("Abs", "MUL", absolute),
    Operation("HardSwish", "HARD_SWISH", hard_swish),
    Operation("Softmax", "SOFTMAX", softmax, fixed_grid=SCORE_GRID),
)
