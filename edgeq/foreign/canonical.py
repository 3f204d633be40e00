"""The steps in order, from any producer's model to the one form that edgeq lowers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.foreign.batch_norm import fold_batch_norms
from edgeq.foreign.constants import fold_quantized_constants
from edgeq.foreign.editor import DEQUANTIZE, QUANTIZE, Editor
from edgeq.foreign.float_parts import note_biases, quantize_float_operands, quantize_float_weights
from edgeq.foreign.integer_ops import INTEGER_OPERATIONS, expand_integer_operations
from edgeq.foreign.pairs import check_pairs, give_zero_points, real_ends, separate_clips, separate_requantization
from edgeq.foreign.spread import Ranges, name_outputs, spread_grids, supply_grids
from edgeq.onnx_file import infer_shapes
from edgeq.tflite.convert import unsupported_nodes
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.qdq_values import node_name
from edgeq.tflite.refusals import unsupported

__all__ = ["make_canonical"]

RUNTIME_SCALES = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul",
                  "MatMulIntegerToFloat", "DynamicQuantizeLSTM"}  # fmt: skip
HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def make_canonical(model: ir.Model, ranges: Ranges | None = None) -> list[str]:
    """Rewrite a QDQ or QOperator model so that every activation stands before one pair of Q and DQ, and every weight is
    int8 with zero point 0 behind a DQ.

    Args:
        model: as :func:`edgeq.onnx_file.load_onnx` gives it; changed in place.
        ranges: called once, when a grid is missing that no rule gives: the (low, high) of every value over a
            calibration set, of the model as it then is.

    Returns:
        Notes of what is not the producer's own: a batch norm folded, a grid supplied; a line each.

    Raises:
        ExportError: what cannot be kept exactly; names node, attribute and remedy.
    """
    editor, integer = Editor(model), {name for _, name in INTEGER_OPERATIONS}
    for node in model.graph:
        if node.op_type in RUNTIME_SCALES:
            raise ExportError(
                f"{node.op_type} belongs to dynamic quantization: the file has no scale of its result",
                where=node_name(node),
                remedy="quantize the float model: edgeq quantize MODEL.onnx --calibration-data DATA --out DIR",
            )
    if not any(node.op_type in (QUANTIZE, DEQUANTIZE) or node.op_type in integer for node in model.graph):
        raise ExportError(
            "the model is float: its values have no int8 grid",
            where=f"graph {model.graph.name}",
            got="no QuantizeLinear",
            remedy="quantize it: edgeq quantize MODEL.onnx --calibration-data DATA --out DIR",
        )
    _check_nodes(editor)
    _to_float32(editor)
    if expand_integer_operations(editor):
        infer_shapes(model)
    give_zero_points(editor)
    fold_quantized_constants(editor)
    editor.drop_unused()
    for node in unsupported_nodes(model):
        if node.op_type != "BatchNormalization":
            raise unsupported(node, {name: row.lower for name, row in OPERATIONS.items()})
    real_ends(editor)
    separate_clips(editor)
    check_pairs(editor)
    if ranges is not None:
        quantize_float_weights(editor)
    fold_batch_norms(editor)
    separate_requantization(editor)
    editor.drop_unused()
    spread_grids(editor)
    separate_requantization(editor)
    supply_grids(editor, ranges)
    spread_grids(editor)
    separate_requantization(editor)
    quantize_float_operands(editor)
    editor.drop_unused()
    name_outputs(editor)
    note_biases(editor)
    return editor.notes


def _check_nodes(editor: Editor) -> None:
    """What no later step looks at: graphs within nodes, and Dropout that drops."""
    for node in editor.graph:
        kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        inner = [item.name for item in node.attributes.values() if item.type in kinds]
        if inner:
            raise ExportError(
                "has a graph of its own, which has no int8 form here",
                where=node_name(node),
                got=f"attribute {inner[0]}",
                remedy="export the network without control flow, for fixed shapes",
            )
        if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
            mode = node.inputs[2].const_value
            if mode is None or bool(np.any(mode.numpy())):
                raise ExportError(
                    "is in training mode", where=node_name(node), remedy="call model.eval() before the export"
                )


def _to_float32(editor: Editor) -> None:
    """float16, bfloat16 and double numbers as float32, and no Cast between them."""
    graph = editor.graph
    for value in [*graph.initializers.values()]:
        if value.dtype in HALF and value.const_value is not None:
            array = value.const_value.numpy()
            if value.dtype == ir.DataType.DOUBLE and np.any(array.astype(np.float32) != array):
                continue
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for value in [*graph.inputs, *(value for node in graph for value in node.outputs)]:
        if value.dtype in HALF[:2]:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in list(graph):
        if node.op_type == "Cast" and node.domain == "" and node.inputs[0] is not None:
            floats = (ir.DataType.FLOAT, *HALF)
            if node.inputs[0].dtype in floats and ir.DataType(node.attributes.get_int("to", 0)) in floats:
                source, result = node.inputs[0], node.outputs[0]
                if result.is_graph_output():
                    node.op_type = "Identity"
                    node.attributes.pop("to")
                    continue
                result.replace_all_uses_with(source)
                graph.remove(node, safe=True)
