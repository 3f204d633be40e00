"""Reductions over any axes: means and sums, maxima and minima, and where a maximum is (ArgMax)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering, View
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import float_source, node_name, read_constant

__all__ = ["REDUCE"]


def reduce_mean(low: Lowering, node: ir.Node) -> None:
    _emit(low, node, "MEAN", _axes(low, node))


def global_average_pool(low: Lowering, node: ir.Node) -> None:
    _emit(low, node, "MEAN", range(2, len(low.shape(node.outputs[0]))))


def reduce_max(low: Lowering, node: ir.Node) -> None:
    _emit(low, node, "REDUCE_MAX", _axes(low, node), same=True)


def reduce_min(low: Lowering, node: ir.Node) -> None:
    _emit(low, node, "REDUCE_MIN", _axes(low, node), same=True)


def global_max_pool(low: Lowering, node: ir.Node) -> None:
    _emit(low, node, "REDUCE_MAX", range(2, len(low.shape(node.outputs[0]))), same=True)


def reduce_sum(low: Lowering, node: ir.Node) -> None:
    """A sum of n values is n means. The MEAN's grid is the sum's with a scale of 1/n, and a MUL by n only tells the
    new scale: every code stays what it is. (LiteRT's SUM kernels disagree: its reference is off by many codes.)"""
    axes = list(_axes(low, node))
    if _is_nothing(low, node, axes):
        return
    shape = low.shape(float_source(node.inputs[0], node))
    count = math.prod(shape[axis] for axis in axes)
    grid = low.result_grid(node)
    if grid.is_float:
        _emit(low, node, "SUM", axes)
        return
    keep = _keeps(node)
    source, dimensions, layout = _reduced(low, node, axes, keep=keep)
    name = f"{node.outputs[0].name}"
    mean_grid = grid.times(1 / count)
    mean = low.add_activation(f"{name}/mean", layout.tensor_shape, mean_grid)
    constant = low.add_constant(f"{name}/axes", np.array(dimensions, np.int32))
    low.add_operator("MEAN", [source, constant], [mean], schema.ReducerOptionsT(keepDims=keep), version=2)
    factor = low.add_number(f"{name}/count", count, len(layout.tensor_shape), low.dtype)
    low.emit(node, "MUL", [mean, factor], schema.MulOptionsT(), layout=layout, version=2, fuse=True)


def arg_max(low: Lowering, node: ir.Node) -> None:
    """The first index of the largest (smallest) code along an axis, as int64 or what a Cast makes of it."""
    if node.attributes.get_int("select_last_index", 0):
        raise ExportError("select_last_index has no form in TFLite", where=node_name(node), wanted=0)
    value = node.outputs[0]
    axis = node.attributes.get_int("axis", 0) % len(low.shape(float_source(node.inputs[0], node)))
    source, (dimension, *more), kept = _reduced(low, node, [axis], keep=True)
    if more:  # the kernel takes one dimension
        plain = Layout.arranged(low.shape(float_source(node.inputs[0], node)))
        source = low.activation(node.inputs[0], node, plain)
        (dimension,), kept = plain.reduced([axis], keep=True) or ([0], plain)
    axes = kept.axes if _keeps(node) else (*kept.axes[:axis], *kept.axes[axis + 1 :])
    # The kernel drops the dimension, whether the axis is kept or not, which makes no difference in memory.
    layout = Layout((*kept.tensor_shape[:dimension], *kept.tensor_shape[dimension + 1 :]), kept.factors, axes)
    name = f"{value.name}"
    constant = low.add_constant(f"{name}/axis", np.array([dimension], np.int32))
    options = schema.ArgMaxOptionsT if node.op_type == "ArgMax" else schema.ArgMinOptionsT
    kind = "ARG_MAX" if node.op_type == "ArgMax" else "ARG_MIN"
    low.check_kernel(node, kind)
    result = low.define_plain(value, "int64", layout)
    low.add_operator(kind, [source, constant], [result], options(outputType=schema.TensorType.INT64), version=2)


def _axes(low: Lowering, node: ir.Node) -> Sequence[int]:
    """They are an attribute in older opsets and an input since; none stand for all."""
    rank = len(low.shape(float_source(node.inputs[0], node)))
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = [int(axis) for axis in read_constant(node.inputs[1], node)]
    else:
        axes = list(node.attributes.get_ints("axes", ()))
    if not axes and node.attributes.get_int("noop_with_empty_axes") == 1:
        raise ExportError("a reduction over no axis is not lowered", where=node_name(node), remedy="leave it out")
    return sorted({axis % rank for axis in axes}) or range(rank)


def _emit(low: Lowering, node: ir.Node, kind: str, axes: Sequence[int], *, same: bool = False) -> None:
    keep = _keeps(node)
    if _is_nothing(low, node, axes):
        return
    source, dimensions, layout = _reduced(low, node, axes, keep=keep)
    constant = low.add_constant(f"{node.outputs[0].name}/axes", np.array(dimensions, np.int32))
    options = schema.ReducerOptionsT(keepDims=keep)
    forced = low.grid(source) if same else None
    low.emit(node, kind, [source, constant], options, layout=layout, version=2, forced=forced)


def _keeps(node: ir.Node) -> bool:
    return node.op_type.startswith("Global") or node.attributes.get_int("keepdims", 1) == 1


def _is_nothing(low: Lowering, node: ir.Node, axes: Sequence[int]) -> bool:
    """Whether all the axes have size 1: then the result is the input, and has its tensor."""
    view = low.view(node.inputs[0], node)
    if any(view.layout.shape[axis] != 1 for axis in axes):
        return False
    layout = view.layout.reshaped(low.shape(node.outputs[0]))
    assert layout is not None, "only axes of size 1 go"
    low.pass_on(node, View(view.tensor, layout))
    return True


def _reduced(low: Lowering, node: ir.Node, axes: Sequence[int], *, keep: bool) -> tuple[int, list[int], Layout]:
    """The input as it lies in memory if its axes are whole, the tensor's dimensions to reduce, the result's layout."""
    view = low.view(node.inputs[0], node)
    tensor, reduced = view.tensor, view.layout.reduced(axes, keep=keep)
    if reduced is None:
        layout = Layout.arranged(view.layout.shape, low.axis_order(node.inputs[0], node))
        tensor, reduced = low.activation(node.inputs[0], node, layout), layout.reduced(axes, keep=keep)
    if reduced is None:
        raise ExportError("an index along an axis of size 1 is not lowered", where=node_name(node), remedy="it is 0")
    return tensor, *reduced


REDUCE = (
    Operation("GlobalAveragePool", "MEAN", global_average_pool),
    Operation("GlobalMaxPool", "REDUCE_MAX", global_max_pool, grid="same"),
    Operation("ReduceMean", "MEAN", reduce_mean),
    Operation("ReduceSum", "MEAN, MUL", reduce_sum),
    Operation("ReduceMax", "REDUCE_MAX", reduce_max, grid="same"),
    Operation("ReduceMin", "REDUCE_MIN", reduce_min, grid="same"),
    Operation("ArgMax", "ARG_MAX", arg_max, limits="the first index"),
    Operation("ArgMin", "ARG_MIN", arg_max, limits="the first index"),
)
