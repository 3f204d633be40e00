"""Convolutions: Conv to CONV_2D and DEPTHWISE_CONV_2D, with padding made SAME or VALID where that is exact, PAD
where not; over a sequence as over an image of one row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.layer import add_bias, add_filters
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.window import image_order, padded, read_window, result_layout
from edgeq.tflite.qdq_values import node_name, read_weight

__all__ = ["CONV"]


def conv(low: Lowering, node: ir.Node) -> None:
    """Conv with any stride, dilation, padding and groups; depthwise where each input channel is a group."""
    weight = read_weight(node.inputs[1], node, floats=low.floats)
    source = low.activation(node.inputs[0], node, image_order(low, node))
    _, height, width, channels = low.tensors[source].shape
    outputs, per_group, *kernel = weight.codes.shape
    if weight.scale.size > 1 and weight.axis != 0:
        raise ExportError("a weight's scales go along the wrong axis", where=node_name(node), got=weight.axis, wanted=0)
    window = read_window(node, (height, width), tuple(kernel))
    source, padding = padded(low, node, source, window)
    common = {"padding": padding, **window.options}
    common |= {"dilationHFactor": window.dilations[0], "dilationWFactor": window.dilations[1]}
    groups = node.attributes.get_int("group", 1)
    depthwise = groups == channels and per_group == 1 and groups > 1
    scale = np.broadcast_to(weight.scale, (outputs,))
    permutation, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    codes = weight.codes.reshape(outputs, per_group, *window.kernel).transpose(permutation)
    weight = replace(weight, scale=scale)  # XNNPACK wants as many scales of the bias as of the weight
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    filters = add_filters(low, node, kind, weight, codes, axis)
    bias = add_bias(low, node, source, weight, outputs)
    layout = result_layout(low, node)
    if depthwise:
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=outputs // channels, **common)
        version = 3
    else:
        options = schema.Conv2DOptionsT(**common)
        version = 3 if groups == 1 else 6
    low.emit(node, kind, [source, filters, bias], options, layout=layout, version=version, fuse=True)


CONV = (Operation("Conv", "CONV_2D, DEPTHWISE_CONV_2D, PAD", conv, limits="[N, C, L] and [N, C, H, W]"),)
