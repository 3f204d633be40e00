"""Operations that move codes and compute nothing, all on one grid: Slice, Split, Gather, Concat, Pad, Expand, Tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import FLOAT, Quantization
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_constant, read_real_constant

__all__ = ["MOVE"]

Bounds = dict[int, tuple[int, int, int]]
"""By axis of the ONNX value: start, stop and step, as Python's slice has them."""


def strided_slice(low: Lowering, node: ir.Node) -> None:
    """Slice with constant bounds; a negative step reads backwards."""
    before = low.view(node.inputs[0], node).layout.shape
    starts, ends = (_integers(node, slot) for slot in (1, 2))
    axes = _integers(node, 3, list(range(len(starts))))
    steps = _integers(node, 4, [1] * len(starts))
    bounds = {}
    for start, end, axis, step in zip(starts, ends, (axis % len(before) for axis in axes), steps, strict=True):
        bounds[axis] = slice(start, end, step).indices(before[axis])
    _slice(low, node, bounds, low.shape(node.outputs[0]))


def _slice(low: Lowering, node: ir.Node, bounds: Bounds, after: tuple[int, ...]) -> None:
    """Part of an input as the node's output, whose shape may have other axes of size 1."""
    before = low.view(node.inputs[0], node).layout.shape
    order = _own_order(low, node)
    begin, end, step = [0] * len(before), list(before), [1] * len(before)
    for axis, (start, stop, stride) in bounds.items():
        begin[axis], step[axis] = start, stride
        end[axis] = -before[axis] - 1 if stop < 0 else stop  # a negative end counts from the back
    shape = tuple(len(range(*bounds.get(axis, (0, size, 1)))) for axis, size in enumerate(before))
    if 0 in shape:
        raise ExportError("gives an empty result", where=node_name(node), got=shape)
    source = low.activation(node.inputs[0], node, order)
    layout = Layout.arranged(shape, order).reshaped(after)
    assert layout is not None, "only axes of size 1 come and go"
    name = node.outputs[0].name
    constants = [
        low.add_constant(f"{name}/{word}", np.array([part[axis] for axis in order], np.int32))
        for word, part in (("begin", begin), ("end", end), ("strides", step))
    ]
    options = schema.StridedSliceOptionsT()
    low.emit(node, "STRIDED_SLICE", [source, *constants], options, layout=layout, version=2, same=source)


def split(low: Lowering, node: ir.Node) -> None:
    """Split into equal parts (SPLIT) or parts of given sizes (SPLIT_V)."""
    shape = low.view(node.inputs[0], node).layout.shape
    axis = node.attributes.get_int("axis", 0) % len(shape)
    parts = [low.shape(value) for value in node.outputs]
    sizes = [part[axis] for part in parts]
    order = _own_order(low, node)
    source = low.activation(node.inputs[0], node, order)
    layouts = [Layout.arranged(part, order) for part in parts]
    name = node.outputs[0].name
    dimension = low.add_constant(f"{name}/axis", np.array(order.index(axis), np.int32))
    if len(set(sizes)) == 1:
        options = schema.SplitOptionsT(numSplits=len(sizes))
        low.emit_all(node, "SPLIT", [dimension, source], options, layouts, version=2, same=source)
    else:
        lengths = low.add_constant(f"{name}/sizes", np.array(sizes, np.int32))
        split_v = schema.SplitVOptionsT(numSplits=len(sizes))
        low.emit_all(node, "SPLIT_V", [source, lengths, dimension], split_v, layouts, version=2, same=source)


def gather(low: Lowering, node: ir.Node) -> None:
    """Gather with constant indices: a STRIDED_SLICE where they are evenly spaced."""
    shape = low.view(node.inputs[0], node).layout.shape
    axis = node.attributes.get_int("axis", 0) % len(shape)
    indices = read_constant(node.inputs[1], node)
    if indices.size == 0 or np.any((indices < -shape[axis]) | (indices >= shape[axis])):
        raise ExportError("has indices out of range", where=node_name(node), got=indices.ravel()[:8].tolist())
    flat = (indices.ravel() % shape[axis]).astype(np.int32)
    after = low.shape(node.outputs[0])
    steps = np.unique(np.diff(flat))
    if indices.ndim < 2 and steps.size <= 1 and 0 not in steps:
        step = int(steps[0]) if steps.size else 1
        _slice(low, node, {axis: (int(flat[0]), int(flat[-1]) + step, step)}, after)
        return
    order = _own_order(low, node)
    source = low.activation(node.inputs[0], node, order)
    layout = Layout.arranged((*shape[:axis], flat.size, *shape[axis + 1 :]), order).reshaped(after)
    assert layout is not None, "a whole axis may be split"
    table = low.add_constant(f"{node.outputs[0].name}/indices", flat)
    options = schema.GatherOptionsT(axis=order.index(axis))
    low.emit(node, "GATHER", [source, table], options, layout=layout, version=2, same=source)


def concat(low: Lowering, node: ir.Node) -> None:
    """All inputs are brought to the output's grid, as TFLite's kernel wants, and to one order; constants are rounded to
    that grid."""
    after = low.shape(node.outputs[0])
    axis = node.attributes.get_int("axis") % len(after)
    active = [value for value in node.inputs if not is_constant(float_source(value, node))]
    if not active:
        raise ExportError("all inputs are constant", where=node_name(node))
    order = max((low.axis_order(value, node) for value in active), key=[
        low.axis_order(value, node) for value in active].count)  # fmt: skip
    grid = low.grid_after(node.outputs[0]) if low.dtype != "float32" else FLOAT
    grid = grid or low.grid(low.view(active[0], node).tensor)
    sources = []
    for value in node.inputs:
        if value in active:
            source = low.activation(value, node, order)
            moved = low.requantize(source, grid, f"{low.tensors[source].name}/requantized")
            if moved != source:
                low.notes.append(f"QUANTIZE added before {node_name(node)}: TFLite's CONCATENATION needs one grid")
            sources.append(moved)
        else:
            assert value is not None, "is_constant has checked it"
            sources.append(_constant(low, node, value, grid, order))
    options = schema.ConcatenationOptionsT(axis=order.index(axis))
    layout = Layout.arranged(after, order)
    low.emit(node, "CONCATENATION", sources, options, layout=layout, version=2, same=sources[0])


def _constant(low: Lowering, node: ir.Node, value: ir.Value, grid: Quantization, order: Sequence[int]) -> int:
    real = read_real_constant(value, node).astype(np.float64)
    if not np.isfinite(real).all():
        raise ExportError("has values that are NaN or infinite", where=f"constant {value.name}")
    codes = grid.codes(real)
    return low.add_constant(str(value.name), Layout.arranged(codes.shape, order).to_tflite(codes), grid)


def pad(low: Lowering, node: ir.Node) -> None:
    """Padding with a constant (PAD with zero, PADV2 else), by reflection (MIRROR_PAD), or by repeating the edge or the
    whole (GATHER)."""
    before = low.view(node.inputs[0], node).layout.shape
    mode = node.attributes.get_string("mode", "constant")
    amounts = _integers(node, 1)
    axes = [axis % len(before) for axis in _integers(node, 3, list(range(len(before))))]
    pads = {axis: (amounts[i], amounts[i + len(axes)]) for i, axis in enumerate(axes)}
    pads = {axis: pair for axis, pair in pads.items() if any(pair)}
    if any(amount < 0 for pair in pads.values() for amount in pair):
        raise ExportError("negative padding is not lowered", where=node_name(node), got=amounts, remedy="use Slice")
    if mode in ("edge", "wrap"):
        _pad_by_index(low, node, pads, mode)
        return
    order = _own_order(low, node)
    source = low.activation(node.inputs[0], node, order)
    after = low.grid_after(node.outputs[0])
    if after is not None:  # before it is padded: the value may lie outside of the input's grid
        source = low.requantize(source, after, f"{node.outputs[0].name}/requantized")
    table = np.array([pads.get(axis, (0, 0)) for axis in order], np.int32)
    inputs = [source, low.add_constant(f"{node.outputs[0].name}/amounts", table)]
    layout = Layout.arranged(low.shape(node.outputs[0]), order)
    if mode == "reflect":
        options = schema.MirrorPadOptionsT(mode=schema.MirrorPadMode.REFLECT)
        low.emit(node, "MIRROR_PAD", inputs, options, layout=layout, version=2, same=source)
        return
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    value = 0.0 if fill is None else float(read_real_constant(fill, node).item())
    if value == 0:
        low.emit(node, "PAD", inputs, schema.PadOptionsT(), layout=layout, version=2, same=source)
        return
    grid = low.grid(source)
    inputs.append(low.add_constant(f"{node.outputs[0].name}/value", grid.codes(np.array([value])), grid))
    low.emit(node, "PADV2", inputs, schema.PadV2OptionsT(), layout=layout, version=2, same=source)


def _pad_by_index(low: Lowering, node: ir.Node, pads: dict[int, tuple[int, int]], mode: str) -> None:
    """A GATHER for each padded axis, whose indices say which code each padded one repeats."""
    order = _own_order(low, node)
    source = low.activation(node.inputs[0], node, order)
    name, shape = str(node.outputs[0].name), list(low.tensors[source].shape)
    for left, (axis, (start, end)) in zip(reversed(range(len(pads))), pads.items(), strict=True):
        position = order.index(axis)
        size = shape[position]
        places = np.arange(-start, size + end)
        indices = np.clip(places, 0, size - 1) if mode == "edge" else places % size
        table = low.add_constant(f"{name}/indices", indices.astype(np.int32))
        shape[position] = len(indices)
        options = schema.GatherOptionsT(axis=position)
        if left:
            result = low.add_activation(f"{name}/part", tuple(shape), low.grid(source))
            low.add_operator("GATHER", [source, table], [result], options, version=2)
            source = result
        else:
            layout = Layout.arranged(low.shape(node.outputs[0]), order)
            low.emit(node, "GATHER", [source, table], options, layout=layout, version=2, same=source)
    if not pads:
        low.pass_on(node, low.view(node.inputs[0], node))


def expand(low: Lowering, node: ir.Node) -> None:
    """Expand and Tile: the input repeated along its axes; nothing where it is whole already."""
    view = low.view(node.inputs[0], node)
    after = low.shape(node.outputs[0])
    layout = view.layout.padded(len(after))
    repeats = [size // given for size, given in zip(after, layout.shape, strict=True)]
    if all(repeat == 1 for repeat in repeats):
        low.pass_on(node, type(view)(view.tensor, layout))
        return
    order = layout.axis_order() or tuple(range(len(after)))
    where = f"before {node_name(node)}"
    name = str(node.outputs[0].name)
    source = low.arrange(view.tensor, layout, Layout.arranged(layout.shape, order), f"{name}/input", where)
    multiples = low.add_constant(f"{name}/multiples", np.array([repeats[axis] for axis in order], np.int32))
    low.emit(node, "TILE", [source, multiples], schema.TileOptionsT(), layout=Layout.arranged(after, order),
             version=1, same=source)  # fmt: skip


def _own_order(low: Lowering, node: ir.Node) -> tuple[int, ...]:
    """The order of the input's axes as they lie; after a Transpose that several nodes read, the order that it gives, so
    that it is done once and not by each of them."""
    value = float_source(node.inputs[0], node)
    producer = value.producer()
    if producer is not None and producer.op_type == "Transpose":
        readers = [user for use, _ in value.uses() for user in _behind(use)]
        if sum(len(user.outputs) for user in readers) > 1:
            return tuple(range(len(low.shape(value))))
    return low.axis_order(node.inputs[0], node)


def _behind(node: ir.Node) -> list[ir.Node]:
    """The readers behind a pair of Q and DQ."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return [user for use, _ in node.outputs[0].uses() for user in _behind(use)]
    return [node]


def _integers(node: ir.Node, slot: int, default: list[int] | None = None) -> list[int]:
    given: NDArray[np.int64] | None = None
    if len(node.inputs) > slot and node.inputs[slot] is not None:
        given = read_constant(node.inputs[slot], node)
    elif default is None:
        raise ExportError("an input is missing", where=node_name(node), got=f"input {slot}")
    return [int(item) for item in given.ravel()] if given is not None else list(default or ())


MOVE = (
    Operation("Slice", "STRIDED_SLICE", strided_slice, grid="same", limits="constant bounds, any steps"),
    Operation("Split", "SPLIT, SPLIT_V", split, grid="same"),
    Operation("Gather", "STRIDED_SLICE, GATHER", gather, grid="same", limits="constant indices"),
    Operation("Concat", "CONCATENATION", concat, grid="same", limits="constants are rounded to the result's grid"),
    Operation("Pad", "PAD, PADV2, MIRROR_PAD, GATHER", pad, grid="same", limits="constant amounts, none negative"),
    Operation("Expand", "nothing, or TILE", expand, grid="same", limits="constant shape"),
    Operation("Tile", "nothing, or TILE", expand, grid="same", limits="constant repeats"),
)
