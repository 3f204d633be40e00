"""Arithmetic of two tensors with broadcasting: Add, Sub, Mul."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.tflite.lower import Lowering
from edgeq.tflite.operands import broadcast_operands
from edgeq.tflite.ops.operation import Operation

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


ELEMENTWISE = (Operation("Add", "ADD", add), Operation("Sub", "SUB", sub), Operation("Mul", "MUL", mul))
