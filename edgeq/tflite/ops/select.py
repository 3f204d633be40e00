"""Truth values: comparisons, And, Or, Not, Where and Cast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization, Tensor
from edgeq.tflite.operands import broadcast_operands
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.step import first_codes, lower_step
from edgeq.tflite.ops.table import table_index
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_real_constant
from edgeq.tflite.refusals import no_form

__all__ = ["SELECT"]

BOUNDS = {  # a > b where the code of b is less than the first one that is not below a, and so on
    "GREATER": ("LESS", "first"),
    "GREATER_EQUAL": ("LESS_EQUAL", "last"),
    "LESS": ("GREATER", "last"),
    "LESS_EQUAL": ("GREATER_EQUAL", "first"),
    "EQUAL": ("EQUAL", "equal"),
}
TURNED = {"GREATER": "LESS", "GREATER_EQUAL": "LESS_EQUAL", "LESS": "GREATER", "LESS_EQUAL": "GREATER_EQUAL"}
KERNEL_SCALES = (1 / 128, 1.0)
Comparison = Callable[[Any, Any], Any]
PLAIN = {ir.DataType.BOOL: "bool", ir.DataType.INT32: "int32", ir.DataType.INT64: "int64"}
REAL = {"int8", "int16", "float32"}
CODES = {
    "bool": schema.TensorType.BOOL,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "float32": schema.TensorType.FLOAT32,
}


def _comparison(kind: str, holds: Comparison) -> Callable[[Lowering, ir.Node], None]:
    def lower(low: Lowering, node: ir.Node) -> None:
        """Of two activations on one grid the codes, on two grids the second's with a bound that the first's code gives;
        of one and a number its code with a bound."""
        sources = [float_source(value, node) for value in node.inputs]
        real = [slot for slot, source in enumerate(sources) if not is_constant(source)]
        if not real or sources[real[0]].dtype not in (None, ir.DataType.FLOAT):
            raise ExportError("only real numbers are compared", where=node_name(node), wanted="a quantized input")
        if len(real) == 1:
            if kind != "EQUAL" and lower_step(low, node, TURNED[kind] if real[0] else kind, real[0]):
                return
            _compare_number(low, node, kind, real[0], holds)
            return
        (first, second), layout = broadcast_operands(low, node)
        if low.dtype != "int8":
            result = low.define_plain(node.outputs[0], "bool", layout)
            low.add_operator(kind, [first, second], [result], OPTIONS[kind](), version=2)
        elif low.grid(first).same_grid(low.grid(second)):
            _compare(low, node, kind, [first, second], layout)
        else:
            _compare_grids(low, node, kind, first, second, layout)

    return lower


def _compare_grids(low: Lowering, node: ir.Node, kind: str, first: int, second: int, layout: Layout) -> None:
    """Exactly: a table has for each code of the first the code of the second from which on the answer is another."""
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    values = [np.float32(g.scale[0]) * (np.sort(codes) - g.zero_point[0]).astype(np.float32)
              for g in (low.grid(first), low.grid(second))]  # fmt: skip
    turned, side = BOUNDS[kind]
    bounds = np.searchsorted(values[1], values[0], "left") - 128
    last = np.searchsorted(values[1], values[0], "right") - 1 - 128
    if side == "last":
        bounds = last
    elif side == "equal":
        bounds = np.where(bounds == last, bounds, 256)  # no code at all
    name = f"{node.outputs[0].name}"
    table = low.add_constant(f"{name}/bounds", bounds[codes.astype(np.int32) + 128].astype(np.int32))
    found = low.add_tensor(Tensor(f"{name}/bound", low.tensors[first].shape, "int32"))
    index = table_index(low, first, f"{name}/first")
    low.add_operator("GATHER", [table, index], [found], schema.GatherOptionsT(axis=0), version=2)
    result = low.define_plain(node.outputs[0], "bool", layout)
    low.add_operator(turned, [_integers(low, node, second), found], [result], OPTIONS[turned](), version=2)


def _compare(low: Lowering, node: ir.Node, kind: str, operands: list[int], layout: Layout) -> None:
    """Of two tensors on one grid: as int8 where the kernel tells all codes apart, else as the integers that they are.

    The kernel multiplies 256 codes by the scale, which it stops at if that is 1 or more, and rounds: below 1/256,
    different codes become equal (LiteRT's comparisons.cc).
    """
    if not KERNEL_SCALES[0] <= low.grid(operands[0]).scale[0] < KERNEL_SCALES[1]:
        operands = [_integers(low, node, tensor) for tensor in operands]
    result = low.define_plain(node.outputs[0], "bool", layout)
    low.add_operator(kind, operands, [result], OPTIONS[kind](), version=2)


def _integers(low: Lowering, node: ir.Node, tensor: int) -> int:
    """The codes of an int8 tensor as int32."""
    given = low.tensors[tensor]
    if given.data is not None:
        return low.add_constant(f"{given.name}/int32", given.data.astype(np.int32))
    result = low.add_tensor(Tensor(f"{node.outputs[0].name}/int32", given.shape, "int32"))
    low.add_operator("CAST", [tensor], [result], schema.CastOptionsT(CODES["int8"], CODES["int32"]))
    return result


def _compare_numbers(low: Lowering, node: ir.Node, kind: str, slot: int) -> None:
    """Compare an activation with several numbers that broadcast over it: each is the first code, exactly, for which the
    answer is another. A number above the largest code needs one more, and so int32."""
    if low.dtype != "int8" or kind == "EQUAL":
        raise no_form(node, low.dtype)
    kind = TURNED[kind] if slot else kind
    grid = low.grid(low.view(node.inputs[slot], node).tensor)

    def bounds(numbers: NDArray[Any]) -> NDArray[Any]:
        first = first_codes(grid, numbers, kind)
        return first.astype(np.int8 if first.max() < 128 else np.int32)

    operands, layout = broadcast_operands(low, node, (slot, 1 - slot), grid=grid, codes=bounds)
    kind = "GREATER_EQUAL" if kind.startswith("GREATER") else "LESS"
    if low.tensors[operands[1]].dtype == "int8":
        _compare(low, node, kind, operands, layout)
        return
    operands[0] = _integers(low, node, operands[0])
    result = low.define_plain(node.outputs[0], "bool", layout)
    low.add_operator(kind, operands, [result], OPTIONS[kind](), version=2)


def _compare_number(low: Lowering, node: ir.Node, kind: str, slot: int, holds: Comparison) -> None:
    """Compare an activation with a constant: the codes for which it holds are those to one side of a bound."""
    constant = read_real_constant(float_source(node.inputs[1 - slot], node), node)
    if constant.size != 1:
        _compare_numbers(low, node, kind, slot)
        return
    view = low.view(node.inputs[slot], node)
    grid = low.grid(view.tensor)
    if grid.is_float:
        rank = len(view.layout.tensor_shape)
        number = low.add_number(f"{node.outputs[0].name}/bound", constant.item(), rank, low.dtype)
        result = low.define_plain(node.outputs[0], "bool", view.layout)
        low.add_operator(kind, [view.tensor, number] if slot == 0 else [number, view.tensor], [result], OPTIONS[kind]())
        return
    if low.dtype != "int8":
        raise no_form(node, low.dtype)
    codes = np.arange(-128, 128)
    values = grid.scale[0] * (codes - grid.zero_point[0]).astype(np.float32)
    pair = (values, constant.astype(np.float32).ravel())
    true = codes[holds(*pair) if slot == 0 else holds(*pair[::-1])]
    if not true.size:
        kind, bound = "GREATER", 127
    elif true[-1] == 127:
        kind, bound = "GREATER_EQUAL", int(true[0])
    elif true[0] == -128:
        kind, bound = "LESS_EQUAL", int(true[-1])
    else:
        kind, bound = "EQUAL", int(true[0])
    limit = np.full([1] * len(view.layout.tensor_shape), bound, np.int8)
    second = low.add_constant(f"{node.outputs[0].name}/bound", limit, grid)
    _compare(low, node, kind, [view.tensor, second], view.layout)


def _logical(kind: str, options: Callable[[], object], operands: int) -> Callable[[Lowering, ir.Node], None]:
    def lower(low: Lowering, node: ir.Node) -> None:
        tensors, layout = broadcast_operands(low, node, range(operands))
        low.add_operator(kind, tensors, [low.define_plain(node.outputs[0], "bool", layout)], options())

    return lower


def where(low: Lowering, node: ir.Node) -> None:
    """Both branches on the result's grid."""
    grid, name = low.result_grid(node), f"{node.outputs[0].name}"
    (condition, *tensors), layout = broadcast_operands(low, node, range(3), grid=grid)
    tensors = [low.requantize(tensor, grid, f"{name}/branch_{i}") for i, tensor in enumerate(tensors)]
    low.emit(node, "SELECT_V2", [condition, *tensors], schema.SelectV2OptionsT(), layout=layout)


def cast(low: Lowering, node: ir.Node) -> None:
    """Real to real is nothing, a truth value to real the codes 0 and 1, an index to another integer type a CAST.

    Raises:
        ExportError: a real number is cast to an integer.
    """
    view, result = low.view(node.inputs[0], node), node.outputs[0]
    before = low.tensors[view.tensor].dtype
    after = PLAIN.get(result.dtype, low.dtype) if result.dtype is not None else low.dtype
    if before in REAL and after in REAL:
        low.pass_on(node, view)
    elif before in REAL or (after in REAL and before != "bool"):
        raise ExportError(
            "a Cast between real numbers and integers is not lowered",
            where=node_name(node),
            got=f"{before} to {result.dtype}",
            remedy="leave it to what reads the output",
        )
    elif after in REAL:
        ones = Quantization.per_tensor(1.0, 0, low.dtype)
        options = schema.CastOptionsT(CODES[before], CODES[after])
        low.emit(node, "CAST", [view.tensor], options, layout=view.layout, forced=ones)
    else:
        index = low.define_plain(result, after, view.layout)
        low.add_operator("CAST", [view.tensor], [index], schema.CastOptionsT(CODES[before], CODES[after]))


OPTIONS: dict[str, Callable[[], object]] = {
    "GREATER": schema.GreaterOptionsT,
    "GREATER_EQUAL": schema.GreaterEqualOptionsT,
    "LESS": schema.LessOptionsT,
    "LESS_EQUAL": schema.LessEqualOptionsT,
    "EQUAL": schema.EqualOptionsT,
}

SELECT = (
    Operation(
        "Greater",
        "GREATER or, with a Where, DEPTHWISE_CONV_2D",
        _comparison("GREATER", np.greater),
        grid="same",
        limits="activations, or one and a constant",
    ),
    Operation(
        "GreaterOrEqual",
        "GREATER_EQUAL or, with a Where, DEPTHWISE_CONV_2D",
        _comparison("GREATER_EQUAL", np.greater_equal),
        grid="same",
        limits="activations, or one and a constant",
    ),
    Operation(
        "Less",
        "LESS or, with a Where, DEPTHWISE_CONV_2D",
        _comparison("LESS", np.less),
        grid="same",
        limits="activations, or one and a constant",
    ),
    Operation(
        "LessOrEqual",
        "LESS_EQUAL or, with a Where, DEPTHWISE_CONV_2D",
        _comparison("LESS_EQUAL", np.less_equal),
        grid="same",
        limits="activations, or one and a constant",
    ),
    Operation("Equal", "EQUAL", _comparison("EQUAL", np.equal), grid="same", limits="activations, or one and a number"),
    Operation("And", "LOGICAL_AND", _logical("LOGICAL_AND", schema.LogicalAndOptionsT, 2)),
    Operation("Or", "LOGICAL_OR", _logical("LOGICAL_OR", schema.LogicalOrOptionsT, 2)),
    Operation("Not", "LOGICAL_NOT", _logical("LOGICAL_NOT", schema.LogicalNotOptionsT, 1)),
    Operation("Where", "SELECT_V2", where, grid="same"),
    Operation("Cast", "nothing or CAST", cast, limits="between kinds of integers, and of truth values to numbers"),
)
