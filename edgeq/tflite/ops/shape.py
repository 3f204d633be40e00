"""Operations that move codes and compute nothing: Reshape and its kin, Transpose, Concat, Pad, Slice; all on one
grid."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import TO_NCHW, TO_NHWC, Lowering
from edgeq.tflite.model import Tensor
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import float_source, node_name, read_constant, read_real_constant

__all__ = ["SHAPE"]


def reshape(low: Lowering, node: ir.Node) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: the shapes that ONNX inferred say all there is to know."""
    source = low.activation(node.inputs[0], node)
    before = low.shape(float_source(node.inputs[0], node))
    after = low.shape(node.outputs[0])
    name = str(node.outputs[0].name)
    order = None
    if len(before) == 4 and not _keeps_pixels(before, after):
        order = low.flatten_order(before)
        if order is not None and not (after == (1, order.size) and low.only_feeds_dense(node.outputs[0])):
            source, order = low.transpose(source, TO_NCHW, f"{name}/nchw"), None
    if len(after) == 4 and not _keeps_pixels(before, after) and low.flatten_order(after) is not None:
        # The result is written in ONNX order first and brought to NHWC after.
        grid = low.grid(source)
        between = low.add_tensor(Tensor(f"{name}/nchw", after, "int8", grid))
        _add_reshape(low, source, between)
        axes = low.add_constant(f"{name}/permutation", np.array(TO_NHWC, np.int32))
        low.emit(node, "TRANSPOSE", [between, axes], schema.TransposeOptionsT(), version=2, forced=grid)
        return
    target = np.array(low.tflite_shape(after), np.int32)
    shape = low.add_constant(f"{name}/shape", target)
    options = schema.ReshapeOptionsT(newShape=target)
    result = low.emit(node, "RESHAPE", [source, shape], options, forced=low.grid(source))
    if order is not None:
        low.column_order[result] = order


def _keeps_pixels(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether both are images whose channels and pixels stay apart, so that NHWC needs no care."""
    return len(before) == len(after) == 4 and before == after


def _add_reshape(low: Lowering, source: int, result: int) -> None:
    target = np.array(low.tensors[result].shape, np.int32)
    shape = low.add_constant(f"{low.tensors[result].name}/shape", target)
    low.add_operator("RESHAPE", [source, shape], [result], schema.ReshapeOptionsT(newShape=target))


def transpose(low: Lowering, node: ir.Node) -> None:
    """The permutation in TFLite's order of axes."""
    source = low.activation(node.inputs[0], node)
    rank = len(low.tensors[source].shape)
    permutation = list(node.attributes.get_ints("perm", tuple(reversed(range(rank)))))
    if rank == 4:
        permutation = [TO_NHWC.index(permutation[axis]) for axis in TO_NHWC]
    axes = low.add_constant(f"{node.outputs[0].name}/permutation", np.array(permutation, np.int32))
    low.emit(node, "TRANSPOSE", [source, axes], schema.TransposeOptionsT(), version=2, forced=low.grid(source))


def concat(low: Lowering, node: ir.Node) -> None:
    """All inputs are brought to the output's grid, as TFLite's kernel wants."""
    sources = [low.activation(value, node) for value in node.inputs]
    rank = len(low.tensors[sources[0]].shape)
    axis = node.attributes.get_int("axis") % rank
    grid = low.grid_after(node.outputs[0])
    for i, source in enumerate(sources):
        if grid is not None and not grid.same_grid(low.grid(source)):
            moved = low.add_tensor(
                Tensor(f"{low.tensors[source].name}/requantized", low.tensors[source].shape, "int8", grid)
            )
            low.add_operator("QUANTIZE", [source], [moved], schema.QuantizeOptionsT())
            low.notes.append(f"QUANTIZE added before {node_name(node)}: TFLite's CONCATENATION needs one grid")
            sources[i] = moved
    options = schema.ConcatenationOptionsT(axis=TO_NHWC.index(axis) if rank == 4 else axis)
    low.emit(node, "CONCATENATION", sources, options, version=2)


def pad(low: Lowering, node: ir.Node) -> None:
    """Constant padding with zero, by so much a side of each axis."""
    source = low.activation(node.inputs[0], node)
    mode = node.attributes.get_string("mode", "constant")
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    if mode != "constant" or (fill is not None and np.any(read_real_constant(fill, node) != 0)):
        raise ExportError("only padding with zeros is lowered", where=node_name(node), got=mode)
    rank = len(low.tensors[source].shape)
    amounts = read_constant(node.inputs[1], node)
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = [int(axis) % rank for axis in read_constant(node.inputs[3], node)]
    table = np.zeros((rank, 2), np.int32)
    for i, axis in enumerate(axes):
        table[axis] = amounts[i], amounts[i + len(axes)]
    if rank == 4:
        table = table[list(TO_NHWC)]
    if (table < 0).any():
        raise ExportError("negative padding is not lowered", where=node_name(node), got=amounts.tolist())
    constant = low.add_constant(f"{node.outputs[0].name}/amounts", table)
    low.emit(node, "PAD", [source, constant], schema.PadOptionsT(), version=2, forced=low.grid(source))


def strided_slice(low: Lowering, node: ir.Node) -> None:
    """Slice with constant bounds and positive steps."""
    source = low.activation(node.inputs[0], node)
    before = low.shape(float_source(node.inputs[0], node))
    rank = len(before)
    starts, ends = (read_constant(node.inputs[slot], node) for slot in (1, 2))
    slots: list[list[int]] = []
    for slot, default in ((3, list(range(len(starts)))), (4, [1] * len(starts))):
        given = len(node.inputs) > slot and node.inputs[slot] is not None
        slots.append([int(item) for item in read_constant(node.inputs[slot], node)] if given else default)
    begin, end, step = [0] * rank, list(before), [1] * rank
    for i, axis in enumerate(axis % rank for axis in slots[0]):
        if slots[1][i] < 1:
            raise ExportError("a Slice with a negative step is not lowered", where=node_name(node), got=slots[1][i])
        begin[axis], end[axis], step[axis] = slice(int(starts[i]), int(ends[i]), slots[1][i]).indices(before[axis])
    bounds = [np.array(part, np.int32) for part in (begin, end, step)]
    if rank == 4:
        bounds = [part[list(TO_NHWC)] for part in bounds]
    name = node.outputs[0].name
    constants = [
        low.add_constant(f"{name}/{word}", part) for word, part in zip(("begin", "end", "strides"), bounds, strict=True)
    ]
    options = schema.StridedSliceOptionsT()
    low.emit(node, "STRIDED_SLICE", [source, *constants], options, version=2, forced=low.grid(source))


SHAPE = (
    Operation("Reshape", "RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Flatten", "RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Squeeze", "RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Unsqueeze", "RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Transpose", "TRANSPOSE", transpose, grid="same"),
    Operation("Concat", "CONCATENATION", concat, grid="same"),
    Operation("Pad", "PAD", pad, grid="same"),
    Operation("Slice", "STRIDED_SLICE", strided_slice, grid="same"),
)
