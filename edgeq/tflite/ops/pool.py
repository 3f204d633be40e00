"""Pools: MaxPool and AveragePool over images and sequences, on one grid as TFLite's kernels want."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.channels import emit_depthwise
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.reduce import global_average_pool
from edgeq.tflite.ops.window import SAME, VALID, Window, image_order, padded, read_window, result_layout
from edgeq.tflite.qdq_values import node_name

__all__ = ["POOL"]

MOST_TAPS = 25
"""Of XNNPACK's depthwise kernels; a larger window is computed a channel at a time, slower than an average pool."""
GROWN = 3


def max_pool(low: Lowering, node: ir.Node) -> None:
    """Padding never wins a maximum: it is filled with the smallest code where SAME does not say the same."""
    if len(node.outputs) > 1 and node.outputs[1] is not None and node.outputs[1].uses():
        raise ExportError(
            "the indices of a MaxPool are not lowered", where=node_name(node), remedy="upsample by a Resize instead"
        )
    source, window = _input(low, node)
    layout = result_layout(low, node)
    window = _reaching(node, window, low.tensors[source].shape[1:3], layout.tensor_shape[1:3])
    grid = low.grid(source)
    source, padding = padded(low, node, source, window, fill_lowest=True)
    options = _options(window, padding)
    low.emit(node, "MAX_POOL_2D", [source], options, layout=layout, version=2, forced=grid, fuse=True)


def average_pool(low: Lowering, node: ir.Node) -> None:
    """Of the whole image, a mean. Where all windows have as many pixels, a depthwise convolution: XNNPACK has no
    average pool of integers, and TFLite's own takes two to four times its instructions."""
    source, window = _input(low, node)
    layout = result_layout(low, node)
    image = low.tensors[source].shape[1:3]
    reaching = _reaching(node, window, image, layout.tensor_shape[1:3])
    alike = reaching == window if node.attributes.get_int("count_include_pad", 0) else not any(reaching.pads)
    if window.kernel == image and not any(reaching.pads):
        global_average_pool(low, node)
    elif alike and math.prod(window.kernel) <= MOST_TAPS and low.dtype == low.grid(source).dtype == "int8":
        _average_by_convolution(low, node, source, window, layout)
    else:
        _average_by_pool(low, node, source, window, layout)


def _average_by_pool(low: Lowering, node: ir.Node, source: int, window: Window, layout: Layout) -> None:
    """Padded pixels that count (count_include_pad) are written by PAD. Those that do not, and what ceil_mode reaches
    past them, are left out by the kernels of SAME: at once where its windows are ONNX's, else by taking some of the
    windows of stride 1."""
    grid, size = low.grid(source), layout.tensor_shape[1:3]
    if node.attributes.get_int("count_include_pad", 0):
        source, _ = padded(low, node, source, window, same=False)
        window = replace(window, pads=(0, 0, 0, 0))
    given = low.tensors[source].shape[1:3]
    window = _reaching(node, window, given, size)
    if not any(window.pads) or window.is_same((given[0], given[1])):
        options = _options(window, SAME if any(window.pads) else VALID)
        low.emit(node, "AVERAGE_POOL_2D", [source], options, layout=layout, version=2, forced=grid, fuse=True)
        return
    # SAME at stride 1 has a window around each pixel; ONNX's are those that start pads before the strides.
    start = [(window.kernel[i] - 1) // 2 - window.pads[i] for i in range(2)]
    end = [start[i] + (size[i] - 1) * window.strides[i] + 1 for i in range(2)]
    if min(start) < 0 or any(end[i] > given[i] for i in range(2)):
        raise ExportError(
            "the padding of an average pool has no exact form in TFLite",
            where=node_name(node),
            got=list(window.pads),
            remedy="use an odd kernel, padding 0, or count_include_pad=True without ceil_mode",
        )
    shape = low.tensors[source].shape
    name = f"{node.outputs[0].name}"
    dense = low.add_activation(f"{name}/stride_1", shape, grid)
    low.add_operator("AVERAGE_POOL_2D", [source], [dense], _options(replace(window, strides=(1, 1)), SAME), version=2)
    bounds = np.array([[0, *start, 0], [1, *end, shape[3]], [1, *window.strides, 1]], np.int32)
    parts = [
        low.add_constant(f"{name}/{word}", part) for word, part in zip(("begin", "end", "strides"), bounds, strict=True)
    ]
    options = schema.StridedSliceOptionsT()
    low.emit(node, "STRIDED_SLICE", [dense, *parts], options, layout=layout, version=2, forced=grid)


def _average_by_convolution(low: Lowering, node: ir.Node, source: int, window: Window, layout: Layout) -> None:
    """Weights of code 1, whose step is one over the pixels of a window."""
    channels = low.tensors[source].shape[3]
    step = np.full(1, 1 / math.prod(window.kernel), np.float32)
    grown = _grown(window, low.tensors[source].shape[1:3], layout.tensor_shape[1:3])
    if grown is None:
        source, padding = padded(low, node, source, window)
        codes = np.ones((*window.kernel, channels), np.int8)
    else:
        (top, left), padding = grown
        codes = np.zeros((GROWN, GROWN, channels), np.int8)
        codes[top : top + window.kernel[0], left : left + window.kernel[1]] = 1
    bias = np.zeros(channels)
    emit_depthwise(low, node, source, codes[None], step, bias, layout=layout, strides=window.strides, padding=padding)


def _grown(
    window: Window, image: tuple[int, ...], result: tuple[int, ...]
) -> tuple[tuple[int, int], schema.Padding] | None:
    """Where a smaller window lies in one of 3x3 pixels that gives as many results, and with which padding.

    XNNPACK's depthwise kernels have 9 or 25 taps: fewer are filled up to 9, or, by the versions of 2022, not found.
    """
    if max(window.kernel) > GROWN:
        return None
    whole = replace(window, kernel=(GROWN, GROWN), pads=(0, 0, 0, 0))
    totals = whole.same_totals((image[0], image[1]))
    for padding, before in ((VALID, (0, 0)), (SAME, (totals[0] // 2, totals[1] // 2))):
        added = totals if padding == SAME else (0, 0)
        place = before[0] - window.pads[0], before[1] - window.pads[1]
        fits = (0 <= place[i] <= GROWN - window.kernel[i] for i in range(2))
        counts = ((image[i] + added[i] - GROWN) // window.strides[i] + 1 == result[i] for i in range(2))
        if all(fits) and all(counts):
            return place, padding
    return None


def _input(low: Lowering, node: ir.Node) -> tuple[int, Window]:
    source = low.activation(node.inputs[0], node, image_order(low, node))
    _, height, width, _ = low.tensors[source].shape
    window = read_window(node, (height, width), tuple(node.attributes.get_ints("kernel_shape", ())))
    if window.dilations != (1, 1):
        raise ExportError(
            f"a {node.op_type} with dilations has no int8 form in TFLite",
            where=node_name(node),
            got=window.dilations,
            wanted=(1, 1),
            remedy="use dilation 1",
        )
    return source, window


def _reaching(node: ir.Node, window: Window, given: tuple[int, ...], result: tuple[int, ...]) -> Window:
    """With pads as far as the last window reaches, which in ceil_mode is past ONNX's.

    Raises:
        ExportError: it starts behind the input: by ONNX's shapes it is there, by PyTorch and onnxruntime it is not.
    """
    if any((result[i] - 1) * window.strides[i] >= given[i] + window.pads[i] for i in range(2)):
        raise ExportError(
            "the last window of a pool in ceil_mode holds no value of its input",
            where=node_name(node),
            got=f"{given[0]}x{given[1]} to {result[0]}x{result[1]}",
            remedy="use ceil_mode 0",
        )
    ends = [
        max(window.pads[i + 2], (result[i] - 1) * window.strides[i] + window.kernel[i] - given[i] - window.pads[i])
        for i in range(2)
    ]
    return replace(window, pads=(*window.pads[:2], ends[0], ends[1]))


def _options(window: Window, padding: int) -> schema.Pool2DOptionsT:
    return schema.Pool2DOptionsT(
        padding=padding, filterHeight=window.kernel[0], filterWidth=window.kernel[1], **window.options
    )


POOL = (
    Operation("MaxPool", "MAX_POOL_2D, PADV2", max_pool, grid="same", limits="no dilations, no indices"),
    Operation(
        "AveragePool",
        "DEPTHWISE_CONV_2D, MEAN, AVERAGE_POOL_2D, PAD, STRIDED_SLICE",
        average_pool,
        grid="same",
        limits="no dilations; not every padding that is left out of the mean",
    ),
)
