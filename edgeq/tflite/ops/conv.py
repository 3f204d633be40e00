"""Convolutions: Conv to CONV_2D and DEPTHWISE_CONV_2D, with padding made SAME or VALID where that is exact, PAD
where not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization, Tensor
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import Weight, node_name, read_constant, read_weight

__all__ = ["CONV", "add_bias", "explicit_pads", "padded"]

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
INT32_MAX = 2**31 - 1


def conv(low: Lowering, node: ir.Node) -> None:
    """Conv with any stride, dilation, padding and groups; depthwise where each input channel is a group."""
    source = low.activation(node.inputs[0], node)
    weight = read_weight(node.inputs[1], node)
    if weight.codes.ndim != 4:
        raise ExportError(
            "only two-dimensional convolutions are lowered", where=node_name(node), got=weight.codes.shape
        )
    groups = node.attributes.get_int("group", 1)
    _, height, width, channels = low.tensors[source].shape
    outputs, per_group, *kernel = weight.codes.shape
    strides = list(node.attributes.get_ints("strides", (1, 1)))
    dilations = list(node.attributes.get_ints("dilations", (1, 1)))
    if weight.scale.size > 1 and weight.axis != 0:
        raise ExportError("a weight's scales go along the wrong axis", where=node_name(node), got=weight.axis, wanted=0)
    pads = explicit_pads(node, (height, width), kernel, strides, dilations)
    source, padding = padded(low, node, source, pads, kernel, strides, dilations)
    common = {"padding": padding, "strideH": strides[0], "strideW": strides[1]}
    common |= {"dilationHFactor": dilations[0], "dilationWFactor": dilations[1]}
    depthwise = groups == channels and per_group == 1 and groups > 1
    scale = np.broadcast_to(weight.scale, (outputs,))
    permutation, axis = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    codes = np.ascontiguousarray(weight.codes.transpose(permutation))
    filters = low.add_constant(weight.name, codes, Quantization.per_channel(scale, axis))
    # XNNPACK wants as many scales of the bias as of the weight.
    bias = add_bias(low, node, source, replace(weight, scale=scale), outputs)
    if depthwise:
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=outputs // channels, **common)
        low.emit(node, "DEPTHWISE_CONV_2D", [source, filters, bias], options, version=3, fuse=True)
    else:
        options = schema.Conv2DOptionsT(**common)
        version = 3 if groups == 1 else 6
        low.emit(node, "CONV_2D", [source, filters, bias], options, version=version, fuse=True)


def explicit_pads(
    node: ir.Node, size: tuple[int, int], kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """The pads (top, left, bottom, right) of a convolution or pool, with ``auto_pad`` worked out."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return list(node.attributes.get_ints("pads", (0, 0, 0, 0)))
    if mode == "VALID":
        return [0, 0, 0, 0]
    before, after = [], []
    for i in range(2):
        total = same_total(size[i], kernel[i], strides[i], dilations[i])
        small, large = total // 2, total - total // 2
        before.append(small if mode == "SAME_UPPER" else large)
        after.append(large if mode == "SAME_UPPER" else small)
    return before + after


def same_total(size: int, kernel: int, stride: int, dilation: int) -> int:
    """How many rows SAME adds in all."""
    return max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)


def padded(
    low: Lowering,
    node: ir.Node,
    source: int,
    pads: list[int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    *,
    fill: int | None = None,
    same: bool = True,
) -> tuple[int, int]:
    """The input and TFLite's padding mode that together mean the pads: SAME or VALID, else a PAD before VALID.

    Args:
        low, node, source: where to add, for whom, which tensor.
        pads: top, left, bottom, right.
        kernel, strides, dilations: height and width.
        fill: the code that PADV2 fills with; None fills with zero (PAD).
        same: whether SAME may stand for pads that are equal to its own.
    """
    batch, height, width, channels = low.tensors[source].shape
    totals = [same_total(size, kernel[i], strides[i], dilations[i]) for i, size in enumerate((height, width))]
    if not any(pads):
        return source, VALID
    if same and all(pads[i] == totals[i] // 2 and pads[i + 2] == totals[i] - totals[i] // 2 for i in range(2)):
        return source, SAME
    shape = (batch, height + pads[0] + pads[2], width + pads[1] + pads[3], channels)
    grid = low.grid(source)
    name = f"{node.outputs[0].name}/pad"
    result = low.add_tensor(Tensor(name, shape, "int8", grid))
    table = np.array([[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]], np.int32)
    amounts = low.add_constant(f"{name}/amounts", table)
    if fill is None:
        low.add_operator("PAD", [source, amounts], [result], schema.PadOptionsT(), version=2)
    else:
        value = low.add_constant(f"{name}/value", np.array([fill], np.int8), grid)
        low.add_operator("PADV2", [source, amounts, value], [result], schema.PadV2OptionsT(), version=2)
    return result, VALID


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


CONV = (Operation("Conv", "CONV_2D, DEPTHWISE_CONV_2D, PAD", conv),)
