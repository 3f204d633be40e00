"""Dense layers: Gemm, and MatMul by a constant matrix, to FULLY_CONNECTED; any other MatMul to BATCH_MATMUL."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering, View, tensor_name
from edgeq.tflite.ops.layer import add_bias, add_filters
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import (
    Weight,
    float_source,
    following_bias,
    is_constant,
    node_name,
    read_operand,
    read_weight,
)

__all__ = ["DENSE"]


def gemm(low: Lowering, node: ir.Node) -> None:
    """Gemm with a constant B: [I, O], or [O, I] when transB is set."""
    attributes = node.attributes
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        raise ExportError("alpha and beta other than 1 are not lowered", where=node_name(node), remedy="fold them")
    if not is_constant(node.inputs[1]):
        raise ExportError("a Gemm of two activations is not lowered", where=node_name(node), remedy="use MatMul")
    view = low.view(node.inputs[0], node)
    if attributes.get_int("transA", 0):
        view = View(view.tensor, view.layout.transposed((1, 0)))
    weight = read_weight(node.inputs[1], node, floats=low.floats)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    _fully_connected(low, node, view, weight if attributes.get_int("transB", 0) else _transposed(weight), bias)


def matmul(low: Lowering, node: ir.Node) -> None:
    """MatMul by a constant [I, O], with the Add of a bias that follows it without a grid between; of two activations,
    or by a constant of more dimensions, a batched product."""
    second = node.inputs[1]
    if not is_constant(second) or len(low.shape(float_source(second, node))) != 2:
        _batched(low, node)
        return
    add, bias = following_bias(node) or (None, None)
    if add is not None:
        low.fused.add(add)
    view = low.view(node.inputs[0], node)
    if len(view.layout.axes) == 1:
        raise ExportError("a product with a vector is not lowered", where=node_name(node), remedy="unsqueeze it")
    result = None if add is None else add.outputs[0]
    if bias is None and len(node.inputs) > 2:
        bias = node.inputs[2]
    _fully_connected(low, node, view, _transposed(read_weight(second, node, floats=low.floats)), bias, result)


def _transposed(weight: Weight) -> Weight:
    axis = 1 - weight.axis if weight.codes.ndim == 2 else weight.axis
    return replace(weight, codes=weight.codes.T, axis=axis if weight.scale.size > 1 else 0)


def _fully_connected(
    low: Lowering,
    node: ir.Node,
    view: View,
    weight: Weight,
    bias: ir.Value | None,
    result: ir.Value | None = None,
) -> None:
    """Weights [O, I], their columns in the order that the memory has the inputs in: a flatten costs nothing."""
    if weight.codes.ndim != 2:
        raise ExportError("a weight of two dimensions is wanted", where=node_name(node), got=weight.codes.shape)
    if weight.scale.size > 1 and weight.axis != 0:
        raise ExportError("a weight's scales go along its inputs", where=node_name(node), wanted="along its outputs")
    # Scales a channel over more than two dimensions tflite-runtime 2.14's own kernels compute wrongly.
    source, held, columns = _dense_input(low, node, view, flat=weight.scale.size > 1)
    outputs = weight.codes.shape[0]
    layout = Layout.arranged((outputs, weight.codes.shape[1]))
    if columns is not None:
        folded = columns.padded(2)
        shift = 1 if outputs > 1 else 0
        factors = ((outputs,) if outputs > 1 else ()) + folded.factors
        axes = ((0,) if outputs > 1 else (), tuple(i + shift for i in folded.axes[1]))
        layout = Layout(layout.tensor_shape, factors, axes)
    filters = add_filters(low, node, "FULLY_CONNECTED", weight, layout.to_tflite(weight.codes), 0)
    low.layouts[low.tensors[filters].name] = layout
    constant = add_bias(low, node, source, weight, outputs, bias=bias)
    keep = len(held.tensor_shape) > 2
    options = schema.FullyConnectedOptionsT(keepNumDims=keep)
    options.asymmetricQuantizeInputs = low.dtype == "float32" and weight.dtype in ("int8", "int4")
    lead = len(held.factors) - len(held.axes[-1])
    after = Layout(
        (*held.tensor_shape[:-1], outputs),
        held.factors[:lead] + ((outputs,) if outputs > 1 else ()),
        (*held.axes[:-1], (lead,) if outputs > 1 else ()),
    )
    low.emit(node, "FULLY_CONNECTED", [source, filters, constant], options, layout=after, version=5 if keep else 4,
             fuse=True, result=result)  # fmt: skip


def _dense_input(low: Lowering, node: ir.Node, view: View, *, flat: bool) -> tuple[int, Layout, Layout | None]:
    """The input with the axis of the products last, its layout, and that axis's own where it is in parts.

    ``flat`` asks for two dimensions: all others are rows.
    """
    layout = view.layout
    rank = len(layout.axes)
    lead = len(layout.factors) - len(layout.axes[-1])
    if sorted(layout.axes[-1]) != list(range(lead, len(layout.factors))):  # other axes lie within it
        order = layout.axis_order() or tuple(range(rank))
        layout = Layout.arranged(layout.shape, (*(axis for axis in order if axis != rank - 1), rank - 1))
        lead = len(layout.factors) - len(layout.axes[-1])
    if flat:
        layout = replace(layout, tensor_shape=(math.prod(layout.factors[:lead]), layout.shape[-1]))
    elif layout.tensor_shape[-1] != layout.shape[-1] or (rank == 2 and len(layout.tensor_shape) != 2):
        sizes = layout.factors[:lead]
        ones = (1,) * max(rank - 1 - len(sizes), 0)
        layout = replace(layout, tensor_shape=(*ones, *sizes, layout.shape[-1]))
    name = tensor_name(float_source(node.inputs[0], node))
    if view != low.view(node.inputs[0], node):
        name += "/transposed"
    source = low.arrange(view.tensor, view.layout, layout, name, f"before {node_name(node)}")
    if low.tensors[source].name == name:
        low.layouts.setdefault(name, layout)
    if len(layout.axes[-1]) < 2:
        return source, layout, None
    parts = Layout((layout.shape[-1],), layout.factors[lead:], (tuple(i - lead for i in layout.axes[-1]),))
    return source, layout, parts


def _batched(low: Lowering, node: ir.Node) -> None:
    """Two activations, or one and a constant of int8, as [..., M, K] by [..., K, N]; either may lie transposed, and the
    batch axes in any order that both can have."""
    after = low.shape(node.outputs[0])
    rank = len(after)
    shapes = [low.shape(float_source(value, node)) for value in node.inputs[:2]]
    if min(map(len, shapes)) < 2:
        raise ExportError("a product with a vector is not lowered", where=node_name(node), remedy="unsqueeze it")
    batch = tuple(range(rank - 2))
    flips, tensors = [], []
    for value, shape in zip(node.inputs[:2], shapes, strict=True):
        lead = batch[: len(shape) - 2]
        plain, flipped = (*lead, len(shape) - 2, len(shape) - 1), (*lead, len(shape) - 1, len(shape) - 2)
        if is_constant(float_source(value, node)):
            assert value is not None, "is_constant has checked it"
            constant = read_operand(value, node, low.dtype)
            tensors.append(low.add_constant(constant.name, constant.codes, constant.grid))
            flips.append(False)
            continue
        memory = low.axis_order(value, node)
        flip = memory.index(plain[-2]) > memory.index(plain[-1])
        flips.append(flip)
        tensors.append(low.activation(value, node, flipped if flip else plain))
    options = schema.BatchMatMulOptionsT(adjX=flips[0], adjY=flips[1])
    low.emit(node, "BATCH_MATMUL", tensors, options, layout=Layout.arranged(after, range(rank)), version=2)


DENSE = (
    Operation("Gemm", "FULLY_CONNECTED", gemm, limits="constant B; alpha and beta 1"),
    Operation(
        "MatMul", "FULLY_CONNECTED, BATCH_MATMUL", matmul, limits="two dimensions or more; the Add of a bias is fused"
    ),
)
