"""QOperator form to QDQ: every operation on integers becomes DQ, the float operation, Q."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.foreign.editor import DEQUANTIZE, QUANTIZE, Editor
from edgeq.tflite.qdq_values import node_name, read_constant

__all__ = ["INTEGER_OPERATIONS", "expand_integer_operations"]

ON_CODES = {
    "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Identity", "Gather", "Split",
    "DepthToSpace", "SpaceToDepth", "Expand", "Concat", "Pad", "Resize",
}  # fmt: skip
"""Operations that mean the same on codes as on the numbers they stand for: they move values about or compare them."""


@dataclass(frozen=True, slots=True)
class IntegerOperation:
    """Where a QLinear operation keeps its parts.

    Attributes:
        becomes: the float operation.
        operands: for each operand the slots of its codes, scale and zero point.
        result: the slots of the result's scale and zero point.
        bias: the slot of an int32 bias at the product of the operands' scales.
        dropped: attributes that the float operation has not.
    """

    becomes: str
    operands: tuple[tuple[int, int, int], ...]
    result: tuple[int, int]
    bias: int | None = None
    dropped: tuple[str, ...] = ("channels_last",)


ONE, TWO = ((0, 1, 2),), ((0, 1, 2), (3, 4, 5))
# onnx/docs/Operators.md and onnxruntime/docs/ContribOperators.md
INTEGER_OPERATIONS: dict[tuple[str, str], IntegerOperation] = {
    ("", "QLinearConv"): IntegerOperation("Conv", TWO, (6, 7), bias=8),
    ("", "QLinearMatMul"): IntegerOperation("MatMul", TWO, (6, 7)),
    ("com.microsoft", "QLinearConv"): IntegerOperation("Conv", TWO, (6, 7), bias=8),
    ("com.microsoft", "QGemm"): IntegerOperation("Gemm", TWO, (7, 8), bias=6),
    ("com.microsoft", "QLinearAdd"): IntegerOperation("Add", TWO, (6, 7)),
    ("com.microsoft", "QLinearMul"): IntegerOperation("Mul", TWO, (6, 7)),
    ("com.microsoft", "QLinearAveragePool"): IntegerOperation("AveragePool", ONE, (3, 4)),
    ("com.microsoft", "QLinearGlobalAveragePool"): IntegerOperation("GlobalAveragePool", ONE, (3, 4)),
    ("com.microsoft", "QLinearLeakyRelu"): IntegerOperation("LeakyRelu", ONE, (3, 4)),
    ("com.microsoft", "QLinearReduceMean"): IntegerOperation("ReduceMean", ONE, (3, 4)),
    ("com.microsoft", "QLinearSigmoid"): IntegerOperation("Sigmoid", ONE, (3, 4)),
    ("com.microsoft", "QLinearSoftmax"): IntegerOperation("Softmax", ONE, (3, 4), dropped=("opset",)),
}


def expand_integer_operations(editor: Editor) -> bool:
    """Replace every QLinear operation, and put DQ and Q about the operations on codes.

    Returns:
        Whether there was any: onnxruntime's own have no shapes inferred.

    Raises:
        ExportError: a channels-last operation, or codes whose scale is not known; names the node.
    """
    scales: dict[ir.Value, tuple[ir.Value, ir.Value | None]] = {}  # codes -> what they stand for
    found = False
    for node in list(editor.graph):
        row = INTEGER_OPERATIONS.get((node.domain if node.domain != "ai.onnx" else "", node.op_type))
        found |= row is not None or node.op_type == "QLinearConcat"
        if row is not None:
            _expand(editor, node, row, scales)
        elif node.op_type == "QLinearConcat":
            _expand_concat(editor, node, scales)
        elif node.op_type == QUANTIZE and node.inputs[1] is not None:
            scales[node.outputs[0]] = (node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None)
        elif node.op_type in ON_CODES and node.inputs and node.inputs[0] in scales:
            _wrap(editor, node, scales)
    return found


def _slot(node: ir.Node, slot: int) -> ir.Value | None:
    return node.inputs[slot] if len(node.inputs) > slot else None


def _expand(editor: Editor, node: ir.Node, row: IntegerOperation, scales: Any) -> None:
    attributes = {key: item for key, item in node.attributes.items() if key not in row.dropped}
    if node.attributes.get_int("channels_last", 0):
        raise ExportError("channels_last is not read", where=node_name(node), got=1, wanted=0)
    new: list[ir.Node] = []
    inputs: list[ir.Value | None] = []
    for codes, scale, zero_point in row.operands:
        inputs.append(_dequantize(editor, node, new, *(_slot(node, slot) for slot in (codes, scale, zero_point))))
    if row.bias is not None and (bias := _slot(node, row.bias)) is not None:
        inputs.append(_bias(editor, node, new, bias, row.operands, attributes))
    _replace(editor, node, new, row.becomes, inputs, attributes, row.result, scales)


def _bias(editor: Editor, node: ir.Node, new: list[ir.Node], bias: ir.Value, operands: Any, attributes: Any) -> Any:
    """An int32 bias at the product of the two scales (and of QGemm's alpha)."""
    first, second = (np.atleast_1d(read_constant(node.inputs[part[1]], node)).astype(np.float32) for part in operands)
    alpha = attributes["alpha"].as_float() if "alpha" in attributes else 1.0
    scale = (first * second * np.float32(alpha)).astype(np.float32)
    name = str(bias.name)
    part = scale if scale.size > 1 else scale[0]
    zero = np.zeros(np.shape(part), np.int32)
    stored = [editor.constant(f"{name}_scale", part), editor.constant(f"{name}_zero_point", zero)]
    dequantize = editor.node(DEQUANTIZE, [bias, *stored], f"{name}_real", bias, attributes={"axis": 0})
    new.append(dequantize)
    return dequantize.outputs[0]


def _expand_concat(editor: Editor, node: ir.Node, scales: Any) -> None:
    new: list[ir.Node] = []
    inputs: list[ir.Value | None] = [
        _dequantize(editor, node, new, *(_slot(node, slot + i) for i in range(3)))
        for slot in range(2, len(node.inputs), 3)
    ]
    _replace(editor, node, new, "Concat", inputs, dict(node.attributes), (0, 1), scales)


def _dequantize(editor: Editor, node: ir.Node, new: list[ir.Node], codes: Any, scale: Any, zero_point: Any) -> ir.Value:
    if codes is None or scale is None:
        raise ExportError("an input or its scale is missing", where=node_name(node))
    # A weight's scale goes along its outputs: the first axis of a convolution, the last of a matrix product.
    axis = 0 if "Conv" in node.op_type or bool(node.attributes.get_int("transB", 0)) else -1
    attributes = {"axis": axis} if scale.shape is not None and scale.shape.rank() == 1 else {}
    dequantize = editor.node(DEQUANTIZE, [codes, scale, zero_point], f"{codes.name}_real", codes, None, attributes)
    new.append(dequantize)
    return dequantize.outputs[0]


def _replace(
    editor: Editor,
    node: ir.Node,
    new: list[ir.Node],
    kind: str,
    inputs: list[ir.Value | None],
    attributes: Any,
    result: tuple[int, int],
    scales: Any,
) -> None:
    codes = node.outputs[0]
    real = ir.node(kind, inputs, attributes, name=node.name)
    real.outputs[0].name, real.outputs[0].shape = editor.unique(f"{codes.name}_value"), codes.shape
    real.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    new.append(real)
    scale, zero_point = _slot(node, result[0]), _slot(node, result[1])
    if scale is None:  # QGemm without an output scale gives real numbers
        _take_over(editor, node, real, new)
        return
    dtype = ir.DataType.UINT8 if zero_point is None else zero_point.dtype
    quantize = editor.node(QUANTIZE, [real.outputs[0], scale, zero_point], f"{codes.name}_again", codes, dtype)
    new.append(quantize)
    scales[quantize.outputs[0]] = (scale, zero_point)
    _take_over(editor, node, quantize, new)


def _take_over(editor: Editor, node: ir.Node, last: ir.Node, new: list[ir.Node]) -> None:
    old, value = node.outputs[0], last.outputs[0]
    name = old.name
    editor.graph.insert_before(node, new)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    editor.graph.remove(node, safe=True)
    value.name = name


def _wrap(editor: Editor, node: ir.Node, scales: Any) -> None:
    """An operation on codes: DQ before it and Q after, on the one grid of its operands."""
    operands = range(len(node.inputs)) if node.op_type == "Concat" else range(1)
    first = scales[node.inputs[0]]
    before: list[ir.Node] = []
    for slot in operands:
        codes = node.inputs[slot]
        if codes not in scales or scales[codes] != first:
            raise ExportError("codes of different scales are joined", where=node_name(node))
        node.replace_input_with(slot, _dequantize(editor, node, before, codes, *first))
    editor.graph.insert_before(node, before)
    for value in node.outputs:
        users, ends = list(value.uses()), value.is_graph_output()
        if not users and not ends:
            continue
        dtype = first[1].dtype if first[1] is not None else ir.DataType.UINT8
        value.type = ir.TensorType(ir.DataType.FLOAT)
        quantize = editor.node(QUANTIZE, [value, *first], f"{value.name}_again", value, dtype)
        for user, slot in users:
            user.replace_input_with(slot, quantize.outputs[0])
        if ends:
            editor.graph.outputs[editor.graph.outputs.index(value)] = quantize.outputs[0]
            quantize.outputs[0].name, value.name = value.name, editor.unique(f"{value.name}_value")
        editor.graph.insert_after(node, quantize)
        scales[quantize.outputs[0]] = first
