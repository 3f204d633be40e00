"""Arithmetic of two tensors with broadcasting: Add, Sub, Mul, Div, Min and Max, and Neg."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import FLOAT, Quantization
from edgeq.tflite.operands import broadcast_operands
from edgeq.tflite.ops.channels import channel_order, emit_channels
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.table import look_up
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_real_constant

__all__ = ["ELEMENTWISE"]


def add(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "ADD", schema.AddOptionsT())


def sub(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "SUB", schema.SubOptionsT())


def mul(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "MUL", schema.MulOptionsT())


def _binary(low: Lowering, node: ir.Node, kind: str, options: Any) -> None:
    inputs, layout = broadcast_operands(low, node)
    low.emit(node, kind, inputs, options, layout=layout, version=2, fuse=True)


def neg(low: Lowering, node: ir.Node) -> None:
    """A product with -1, which is exact on every grid. (TFLite's int8 NEG minds no zero point.)"""
    _scale(low, node, low.view(node.inputs[0], node).tensor, -1.0)


def _scale(low: Lowering, node: ir.Node, tensor: int, factor: float) -> None:
    """Multiply by a number that is one code of its own grid."""
    layout = low.view(node.inputs[0], node).layout
    grid = FLOAT if low.dtype == "float32" else Quantization.per_tensor(np.float32(abs(factor)), 0, low.dtype)
    numbers = grid.codes(np.full([1] * len(layout.tensor_shape), factor))
    constant = low.add_constant(f"{node.outputs[0].name}/factor", numbers, grid)
    low.emit(node, "MUL", [tensor, constant], schema.MulOptionsT(), layout=layout, version=2, fuse=True)


def div(low: Lowering, node: ir.Node) -> None:
    """By a number, a MUL by its inverse; by a number a channel, a depthwise convolution with an inverse a channel as
    its scales; of a number by an activation, a table.

    Raises:
        ExportError: a constant divisor is zero, or both are activations: LiteRT's int8 DIV stops at a divisor of zero
            and overflows where a quotient is small.
    """
    dividend, divisor = (float_source(value, node) for value in node.inputs[:2])
    if low.dtype == "float32":
        _binary(low, node, "DIV", schema.DivOptionsT())
    elif is_constant(divisor):
        numbers = read_real_constant(divisor, node).astype(np.float64)
        if not np.all(np.isfinite(numbers) & (numbers != 0)):
            raise ExportError("divides by zero, NaN or infinity", where=node_name(node), got=divisor.name)
        if np.all(numbers == numbers.ravel()[0]) and low.shape(dividend) == low.shape(node.outputs[0]):
            _scale(low, node, low.view(dividend, node).tensor, 1 / float(numbers.ravel()[0]))
        else:
            _scale_channels(low, node, 1 / numbers)
    elif is_constant(dividend) and read_real_constant(dividend, node).size == 1:
        number = float(read_real_constant(dividend, node).item())
        look_up(low, node, lambda x: number / x, source=low.view(divisor, node))
    else:
        raise ExportError(
            "a division by an activation has no exact int8 form in TFLite",
            where=node_name(node),
            wanted="a constant dividend or divisor",
            remedy="multiply by a Reciprocal, which is quantized on its own",
        )


def _scale_channels(low: Lowering, node: ir.Node, factors: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """A factor a channel, each exactly: codes 127 with the factors as the scales of a depthwise convolution."""
    shape = low.shape(node.outputs[0])
    order = channel_order(shape, factors.shape)
    if order is None or low.view(node.inputs[0], node).layout.shape != shape:
        raise ExportError(
            "a division by such a constant is not lowered",
            where=node_name(node),
            got=factors.shape,
            wanted="a number, or one a channel of [N, C], [N, C, L] or [N, C, H, W]",
            remedy="multiply by the inverse instead",
        )
    numbers = factors.ravel()
    codes, scale = (127 * np.sign(numbers)).astype(np.int8), np.abs(numbers / 127).astype(np.float32)
    emit_channels(low, node, node.inputs[0], order, codes, scale, np.zeros(len(numbers)))


def maximum(low: Lowering, node: ir.Node) -> None:
    _extreme(low, node, "MAXIMUM")


def minimum(low: Lowering, node: ir.Node) -> None:
    _extreme(low, node, "MINIMUM")


def _extreme(low: Lowering, node: ir.Node, kind: str) -> None:
    """The kernels compare codes: all operands are brought to the result's grid, which keeps their order."""
    grid, name = low.result_grid(node), f"{node.outputs[0].name}"
    slots = range(len(node.inputs))
    tensors, layout = broadcast_operands(low, node, slots, grid=grid)
    tensors = [low.requantize(tensor, grid, f"{name}/operand_{i}") for i, tensor in enumerate(tensors)]
    if len(tensors) != 2:
        raise ExportError(f"a {node.op_type} of {len(tensors)} is not lowered", where=node_name(node), wanted="two")
    low.emit(node, kind, tensors, schema.MaximumMinimumOptionsT(), layout=layout, version=2)


ELEMENTWISE = (
    Operation("Add", "ADD", add),
    Operation("Sub", "SUB", sub),
    Operation("Mul", "MUL", mul),
    Operation(
        "Div",
        "MUL or DEPTHWISE_CONV_2D or CAST, GATHER",
        div,
        limits="a constant divisor, or one constant number as the dividend",
    ),
    Operation("Neg", "MUL", neg),
    Operation("Max", "MAXIMUM", maximum, grid="same", limits="two operands"),
    Operation("Min", "MINIMUM", minimum, grid="same", limits="two operands"),
)
