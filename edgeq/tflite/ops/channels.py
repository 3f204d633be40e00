"""An affine function a channel: a depthwise convolution of one pixel."""

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

__all__ = ["channel_order", "emit_channels"]

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
    value = node.outputs[0] if result is None else result
    name = f"{value.name}"
    filters = low.add_constant(f"{name}/factors", codes.reshape(1, 1, 1, -1), Quantization.per_channel(scale, 3))
    wide = bias.astype(np.int64 if low.dtype == "int16" else np.int32)
    added = low.add_constant(f"{name}/bias", wide, Quantization.per_channel(low.grid(tensor).scale[0] * scale, 0))
    options = schema.DepthwiseConv2DOptionsT(
        padding=schema.Padding.VALID,
        strideH=1,
        strideW=1,
        depthMultiplier=1,
        dilationHFactor=1,
        dilationWFactor=1,
        fusedActivationFunction=bounds.fused,
    )
    low.emit(
        node,
        "DEPTHWISE_CONV_2D",
        [tensor, filters, added],
        options,
        layout=Layout.arranged(low.shape(value), order),
        version=3,
        fuse=bounds == NO_BOUNDS,
        result=result,
    )
