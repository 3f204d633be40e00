"""Pooling and means: MaxPool, AveragePool (on one grid, as TFLite's kernels want), GlobalAveragePool and ReduceMean
to MEAN."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.conv import explicit_pads, padded
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import node_name, read_constant

__all__ = ["POOL"]

INT8_MIN = -128


def max_pool(low: Lowering, node: ir.Node) -> None:
    """Padding never wins a maximum: it is filled with the smallest code where SAME does not say the same."""
    if len(node.outputs) > 1 and node.outputs[1].uses():
        raise ExportError("the indices of a MaxPool are not lowered", where=node_name(node))
    _pool(low, node, "MAX_POOL_2D", fill=INT8_MIN)


def average_pool(low: Lowering, node: ir.Node) -> None:
    """Padded pixels that count (count_include_pad) become PAD; those that do not must be SAME, whose kernels leave
    them out too."""
    counted = bool(node.attributes.get_int("count_include_pad", 0))
    _pool(low, node, "AVERAGE_POOL_2D", fill=None, counted=counted)


def _pool(low: Lowering, node: ir.Node, kind: str, *, fill: int | None, counted: bool = True) -> None:
    source = low.activation(node.inputs[0], node)
    if len(low.tensors[source].shape) != 4:
        raise ExportError("only two-dimensional pools are lowered", where=node_name(node))
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    strides = list(node.attributes.get_ints("strides", (1, 1)))
    if any(size != 1 for size in node.attributes.get_ints("dilations", (1, 1))):
        raise ExportError("a dilated pool has no int8 form in TFLite", where=node_name(node))
    size = low.tensors[source].shape[1:3]
    explicit = explicit_pads(node, (size[0], size[1]), kernel, strides, [1, 1])
    pads = list(explicit)
    output = low.shape(node.outputs[0])[2:]
    for i in range(2):  # ceil_mode: the last window reaches past the pads
        pads[i + 2] = max(pads[i + 2], (output[i] - 1) * strides[i] + kernel[i] - size[i] - pads[i])
    grid = low.grid(source)
    before = len(low.operators)
    # SAME leaves padded pixels out of a mean, as ceil_mode does; where they count they are written out.
    count = fill is None and counted and any(explicit)
    source, padding = padded(low, node, source, pads, kernel, strides, [1, 1], fill=fill, same=not count)
    if fill is None and (pads != explicit if count else len(low.operators) > before):
        raise ExportError(
            "the padding of an average pool has no exact form in TFLite",
            where=node_name(node),
            got=pads,
            remedy="use padding 0, or count_include_pad=True without ceil_mode",
        )
    options = schema.Pool2DOptionsT(
        padding=padding, strideH=strides[0], strideW=strides[1], filterHeight=kernel[0], filterWidth=kernel[1]
    )
    low.emit(node, kind, [source], options, version=2, forced=grid, fuse=True)


def global_average_pool(low: Lowering, node: ir.Node) -> None:
    rank = len(low.shape(node.outputs[0]))
    _mean(low, node, list(range(2, rank)), keep=True)


def reduce_mean(low: Lowering, node: ir.Node) -> None:
    """ReduceMean over any axes; they are an attribute before opset 18 and an input since."""
    rank = len(low.view(node.inputs[0], node).layout.axes)
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = [int(axis) for axis in read_constant(node.inputs[1], node)]
    else:
        axes = list(node.attributes.get_ints("axes", ()))
    if not axes and node.attributes.get_int("noop_with_empty_axes"):
        raise ExportError("a mean over no axis is not lowered", where=node_name(node), remedy="leave it out")
    axes = [axis % rank for axis in axes or range(rank)]
    keep = bool(node.attributes.get_int("keepdims", 1))
    _mean(low, node, axes, keep=keep)


def _mean(low: Lowering, node: ir.Node, axes: list[int], *, keep: bool) -> None:
    """Over axes of the ONNX value, wherever they lie in memory."""
    view = low.view(node.inputs[0], node)
    tensor, reduced = view.tensor, view.layout.reduced(axes, keep=keep)
    if reduced is None:
        layout = Layout.arranged(view.layout.shape, low.axis_order(node.inputs[0], node))
        tensor, reduced = low.activation(node.inputs[0], node, layout), layout.reduced(axes, keep=keep)
    if reduced is None:  # all of size 1
        raise ExportError("a mean over axes of size 1 is not lowered", where=node_name(node), remedy="leave it out")
    dimensions = low.add_constant(f"{node.outputs[0].name}/axes", np.array(reduced[0], np.int32))
    options = schema.ReducerOptionsT(keepDims=keep)
    low.emit(node, "MEAN", [tensor, dimensions], options, layout=reduced[1], version=2)


POOL = (
    Operation("MaxPool", "MAX_POOL_2D, PADV2", max_pool, grid="same"),
    Operation("AveragePool", "AVERAGE_POOL_2D, PAD", average_pool, grid="same"),
    Operation("GlobalAveragePool", "MEAN", global_average_pool),
    Operation("ReduceMean", "MEAN", reduce_mean),
)
