"""How much an operation of a .tflite file computes and moves: from shapes alone, whatever runs it."""

from __future__ import annotations

import math

import numpy as np

from edgeq.tflite.model import Graph, Operator

__all__ = ["operator_bytes", "operator_macs"]


def operator_macs(graph: Graph, operator: Operator) -> int:
    """Multiply-accumulates of a convolution or fully-connected layer, padding counted as if it were data; 0 for the
    others."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") or len(operator.inputs) < 2:
        return 0
    weight = graph.tensors[operator.inputs[1]].shape
    result = graph.tensors[operator.outputs[0]].shape
    if operator.kind == "CONV_2D":
        return math.prod(result) * math.prod(weight[1:])
    if operator.kind == "DEPTHWISE_CONV_2D":
        return math.prod(result) * math.prod(weight[1:3])
    return math.prod(result) * (weight[-1] if weight else 0)


def operator_bytes(graph: Graph, operator: Operator) -> int:
    """Bytes of the tensors that an operation reads and writes, each counted once: the least it can move."""
    used = {index for index in (*operator.inputs, *operator.outputs) if index >= 0}
    return sum(math.prod(graph.tensors[index].shape) * np.dtype(graph.tensors[index].dtype).itemsize for index in used)
