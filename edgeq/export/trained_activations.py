"""Activations whose grid a network was trained with: taken out of the float graph, and given as they are.

A QuantizeLinear and DequantizeLinear in a float model say what the training rounded a value to. A Where between a
number and its negative is a sign, whose two values a grid shall have exactly.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid

__all__ = ["take_trained_activations"]

SIGN_CODE = 64  # a power of two, so that the values are exact; large, so that a bias is finely rounded beside it


def take_trained_activations(model: ir.Model) -> dict[str, ActivationGrid]:
    """Take the pairs out of a float model that has been calibrated.

    Args:
        model: changed in place: what read a pair reads the value before it.

    Returns:
        The grids by value name, for those of the training to be pinned.

    Raises:
        ExportError: a pair is not int8 with one scale, or something else reads the value before it.
    """
    grids: dict[str, ActivationGrid] = {}
    for node in list(model.graph):
        if node.op_type == "DequantizeLinear" and _made(node.inputs[0], "QuantizeLinear"):
            name, grid = _take_pair(node)
            grids[name] = grid
        elif node.op_type == "Where" and (size := _sign_size(node)) is not None:
            grids[str(node.outputs[0].name)] = ActivationGrid(float(np.float32(size / SIGN_CODE)), 0)
    return grids


def _take_pair(dequantize: ir.Node) -> tuple[str, ActivationGrid]:
    codes = dequantize.inputs[0]
    quantize = codes.producer() if codes is not None else None
    assert quantize is not None and codes is not None and quantize.graph is not None
    value, result, graph = quantize.inputs[0], dequantize.outputs[0], quantize.graph
    scale, zero = (None if item is None else item.const_value for item in (*quantize.inputs, None)[1:3])
    where = f"node {quantize.name}"
    if scale is None or zero is None or scale.size != 1 or zero.dtype != ir.DataType.INT8:
        raise ExportError("a trained activation is not int8 with one scale", where=where)
    if value is None or value.producer() is None or len(value.uses()) != 1 or len(codes.uses()) != 1:
        raise ExportError("a value is read as it is and rounded, too", where=where, remedy="put a Relu between")
    if result.is_graph_output():
        raise ExportError("an output of the network is rounded", where=where, remedy="leave that to --io")
    result.replace_all_uses_with(value)
    graph.remove([dequantize, quantize], safe=True)
    return str(value.name), ActivationGrid(float(scale.numpy().item()), int(zero.numpy().item()))


def _made(value: ir.Value | None, kind: str) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == kind


def _sign_size(node: ir.Node) -> float | None:
    """The size of both branches of a Where, if they are a number and its negative."""
    branches = [None if item is None or item.const_value is None else item.const_value.numpy() for item in node.inputs]
    if any(item is None or item.size != 1 for item in branches[1:]):
        return None
    first, second = (float(item.item()) for item in branches[1:] if item is not None)
    return abs(first) if first == -second and first else None
