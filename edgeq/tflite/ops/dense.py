"""Fully-connected layers: Gemm, and MatMul by a constant, to FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.conv import add_bias
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import Weight, is_constant, node_name, read_weight

__all__ = ["DENSE"]


def gemm(low: Lowering, node: ir.Node) -> None:
    """Gemm with a constant B: [I, O], or [O, I] when transB is set."""
    attributes = node.attributes
    factors = (attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0), attributes.get_int("transA", 0))
    if factors != (1.0, 1.0, 0):
        raise ExportError("only alpha = beta = 1 and transA = 0 are lowered", where=node_name(node), got=factors)
    weight = read_weight(node.inputs[1], node)
    _fully_connected(low, node, weight if attributes.get_int("transB", 0) else _transposed(weight))


def matmul(low: Lowering, node: ir.Node) -> None:
    """MatMul of an activation by a constant [I, O]."""
    if not is_constant(node.inputs[1]):
        raise ExportError("a product of two activations is not lowered", where=node_name(node), wanted="a constant B")
    _fully_connected(low, node, _transposed(read_weight(node.inputs[1], node)))


def _transposed(weight: Weight) -> Weight:
    axis = 1 - weight.axis if weight.codes.ndim == 2 else weight.axis
    return replace(weight, codes=weight.codes.T, axis=axis if weight.scale.size > 1 else 0)


def _fully_connected(low: Lowering, node: ir.Node, weight: Weight) -> None:
    """Weights [O, I], columns in the order the flattened input has them."""
    if weight.codes.ndim != 2:
        raise ExportError("a weight of two dimensions is wanted", where=node_name(node), got=weight.codes.shape)
    if weight.scale.size > 1 and weight.axis != 0:
        raise ExportError("a weight's scales go along its inputs", where=node_name(node), wanted="along its outputs")
    source = low.activation(node.inputs[0], node)
    order = low.column_order.get(source)
    codes = weight.codes if order is None else weight.codes[:, order]
    grid = Quantization.per_channel(weight.scale, 0)
    filters = low.add_constant(weight.name, np.ascontiguousarray(codes), grid)
    bias = add_bias(low, node, source, weight, codes.shape[0])
    keep = len(low.tensors[source].shape) > 2
    options = schema.FullyConnectedOptionsT(keepNumDims=keep)
    low.emit(node, "FULLY_CONNECTED", [source, filters, bias], options, version=5 if keep else 4, fuse=True)


DENSE = (Operation("Gemm", "FULLY_CONNECTED", gemm), Operation("MatMul", "FULLY_CONNECTED", matmul))
