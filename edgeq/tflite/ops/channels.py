"""Depthwise convolutions that are no layers: an affine function a channel is one of a single pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.tflite.clamp import NO_BOUNDS, Bounds
from edgeq.tflite.layout import Layout, Order
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.window import VALID

__all__ = ["channel_order", "emit_channels", "emit_depthwise"]

CHANNELS_LAST: dict[int, Order] = {2: (0, (), (), 1), 3: (0, (), 2, 1), 4: (0, 2, 3, 1)}


def channel_order(shape: tuple[int, ...], numbers: tuple[int, ...]) -> Order | None:
    """The order of [N, C], [N, C, L] or [N, C, H, W] as an image with its channels last; None of another shape, and
    where numbers of a shape are neither one a channel nor a single one."""
    order = CHANNELS_LAST.get(len(shape))
    if order is None:
        return None
    a_channel = (1, shape[1], *[1] * (len(shape) - 2))
    return order if (1,) * (len(shape) - len(numbers)) + numbers in (a_channel, (1,) * len(shape)) else None


def emit_channels(
    low: Lowering,
    node: ir.Node,
    source: ir.Value | None,
    order: Order,
    codes: NDArray[np.int8],
    scale: NDArray[np.float32],
    bias: NDArray[Any],
    *,
    bounds: Bounds = NO_BOUNDS,
    result: ir.Value | None = None,
) -> None:
    """``codes * scale * x + bias`` of each channel, exactly but for the rounding of the result.

    Args:
        low, node: the graph and the node.
        source: x, [N, C], [N, C, L] or [N, C, H, W].
        order: of :func:`channel_order`.
        codes, scale: of a weight, [C]; a scale for all is [1].
        bias: integers [C], in steps of x's scale times the weight's.
        bounds: what the operation holds its result to; where there are none, the Relu or Clip that follows.
        result: the value that is computed, where it is not the node's first output.
    """
    tensor = low.activation(source, node, order)
    layout = Layout.arranged(low.shape(node.outputs[0] if result is None else result), order)
    filters = codes.reshape(1, 1, 1, -1)
    emit_depthwise(low, node, tensor, filters, scale, bias, layout=layout, bounds=bounds, result=result)


def emit_depthwise(
    low: Lowering,
    node: ir.Node,
    source: int,
    codes: NDArray[np.int8],
    scale: NDArray[np.float32],
    bias: NDArray[Any],
    *,
    layout: Layout,
    strides: tuple[int, int] = (1, 1),
    padding: int = VALID,
    bounds: Bounds = NO_BOUNDS,
    result: ir.Value | None = None,
) -> None:
    """A filter of each channel, over tensor ``source``.

    Args:
        low, node: the graph and the node.
        source: [N, H, W, C].
        codes, scale: of the filters, [1, h, w, C]; a scale a channel, or one for all.
        bias, bounds, result: as of :func:`emit_channels`.
        layout: of the result.
        strides, padding: along height and width; TFLite's SAME or VALID.
    """
    name = f"{(node.outputs[0] if result is None else result).name}"
    filters = low.add_constant(f"{name}/factors", codes, Quantization.per_channel(scale, 3))
    wide = bias.astype(np.int64 if low.dtype == "int16" else np.int32)
    added = low.add_constant(f"{name}/bias", wide, Quantization.per_channel(low.grid(source).scale[0] * scale, 0))
    options = schema.DepthwiseConv2DOptionsT(
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        depthMultiplier=1,
        dilationHFactor=1,
        dilationWFactor=1,
        fusedActivationFunction=bounds.fused,
    )
    low.emit(
        node,
        "DEPTHWISE_CONV_2D",
        [source, filters, added],
        options,
        layout=layout,
        version=3,
        fuse=bounds == NO_BOUNDS,
        result=result,
    )
