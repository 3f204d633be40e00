"""Arithmetic of two tensors with broadcasting: Add, Sub, Mul."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import TO_NHWC, Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import check_scale, is_constant, node_name, read_constant

__all__ = ["ELEMENTWISE"]


def add(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "ADD", schema.AddOptionsT())


def sub(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "SUB", schema.SubOptionsT())


def mul(low: Lowering, node: ir.Node) -> None:
    _binary(low, node, "MUL", schema.MulOptionsT())


def _binary(low: Lowering, node: ir.Node, kind: str, options: Any) -> None:
    rank = len(low.shape(node.outputs[0]))
    inputs = [_operand(low, node, slot, rank) for slot in range(2)]
    low.emit(node, kind, inputs, options, version=2, fuse=True)


def _operand(low: Lowering, node: ir.Node, slot: int, rank: int) -> int:
    """An activation as it is; a constant on its own grid, in TFLite's layout."""
    value = node.inputs[slot]
    if not is_constant(value):
        tensor = low.activation(value, node)
        if len(low.tensors[tensor].shape) != rank:
            raise ExportError("operands of different ranks are not lowered", where=node_name(node), wanted=rank)
        return tensor
    dequantize = value.producer() if value is not None else None
    if dequantize is None or value is None:
        raise ExportError(
            "a constant operand is not quantized", where=node_name(node), got=getattr(value, "name", None)
        )
    stored = read_constant(dequantize.inputs[0], node)
    scale = np.atleast_1d(read_constant(dequantize.inputs[1], node)).astype(np.float32)
    check_scale(scale, str(value.name), node)
    zero = dequantize.inputs[2] if len(dequantize.inputs) > 2 else None
    zero_point = 0 if zero is None else int(read_constant(zero, node).ravel()[0])
    if scale.size != 1 or stored.dtype not in (np.int8, np.uint8):
        raise ExportError("a constant operand is not int8 with one scale", where=node_name(node), got=stored.dtype)
    if stored.dtype == np.uint8:
        stored, zero_point = (stored.astype(np.int16) - 128).astype(np.int8), zero_point - 128
    stored = stored.reshape((1,) * (rank - stored.ndim) + stored.shape)
    if rank == 4:
        stored = stored.transpose(TO_NHWC)
    grid = Quantization.per_tensor(scale[0], zero_point)
    name = str(dequantize.inputs[0].name if dequantize.inputs[0] else node.name).removesuffix("_quantized")
    return low.add_constant(name, np.ascontiguousarray(stored), grid)


ELEMENTWISE = (Operation("Add", "ADD", add), Operation("Sub", "SUB", sub), Operation("Mul", "MUL", mul))
