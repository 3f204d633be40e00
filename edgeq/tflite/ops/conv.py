"""Convolutions: Conv to CONV_2D and DEPTHWISE_CONV_2D, with padding made SAME or VALID where that is exact, PAD
where not; over a sequence as over an image of one row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.window import image_order, padded, read_window, result_layout
from edgeq.tflite.qdq_values import Weight, node_name, read_constant, read_weight

__all__ = ["CONV", "add_bias"]

INT32_MAX = 2**31 - 1


def conv(low: Lowering, node: ir.Node) -> None:
    """Conv with any stride, dilation, padding and groups; depthwise where each input channel is a group."""
    weight = read_weight(node.inputs[1], node)
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
    filters = low.add_constant(weight.name, np.ascontiguousarray(codes), Quantization.per_channel(scale, axis))
    # XNNPACK wants as many scales of the bias as of the weight.
    bias = add_bias(low, node, source, replace(weight, scale=scale), outputs)
    layout = result_layout(low, node)
    if depthwise:
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=outputs // channels, **common)
        kind, version = "DEPTHWISE_CONV_2D", 3
    else:
        options = schema.Conv2DOptionsT(**common)
        kind, version = "CONV_2D", 3 if groups == 1 else 6
    low.emit(node, kind, [source, filters, bias], options, layout=layout, version=version, fuse=True)


def add_bias(
    low: Lowering, node: ir.Node, source: int, weight: Weight, outputs: int, *, bias: ir.Value | None = None
) -> int:
    """The int32 bias at input scale x weight scale; a stored one at that scale is kept to the bit, another
    re-expressed. It is the node's third input where no other is given.

    Raises:
        ExportError: a value does not fit int32; names the channel.
    """
    scale = low.grid(source).scale[0] * np.broadcast_to(weight.scale, (outputs,))
    stem = weight.name.removesuffix(".weight")
    if bias is None and len(node.inputs) > 2:
        bias = node.inputs[2]
    codes = _bias_codes(node, bias, scale, stem)
    grid = Quantization.per_channel(scale if weight.scale.size > 1 else scale[:1], 0)
    return low.add_constant(f"{stem}.bias", codes, grid)


def _bias_codes(node: ir.Node, value: ir.Value | None, scale: NDArray[np.float32], stem: str) -> NDArray[np.int32]:
    if value is None:
        return np.zeros(scale.shape, np.int32)
    if value.const_value is not None:  # a float bias
        real = read_constant(value, node).astype(np.float64).ravel()
    else:
        stored = read_weight(value, node)
        if stored.codes.dtype == np.int32 and np.allclose(stored.scale, scale, rtol=1e-6, atol=0):
            return np.ascontiguousarray(stored.codes.ravel())
        real = stored.codes.ravel().astype(np.float64) * stored.scale
    codes = np.rint(np.broadcast_to(real, scale.shape) / scale.astype(np.float64))
    bad = np.flatnonzero(~(np.abs(codes) <= INT32_MAX))
    if bad.size:
        raise ExportError(
            f"the bias of channel {bad[0]} does not fit int32",
            where=f"layer {stem}",
            got=f"{codes[bad[0]]:.3g}",
            wanted="at most 2^31 - 1",
            remedy="prune the channel, or put weight decay on gamma: its weights are almost zero",
        )
    return codes.astype(np.int32)


CONV = (Operation("Conv", "CONV_2D, DEPTHWISE_CONV_2D, PAD", conv, limits="[N, C, L] and [N, C, H, W]"),)
