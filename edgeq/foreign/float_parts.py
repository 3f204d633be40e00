"""What a producer left in float: weights, which are rounded when asked for, constant operands, which become int8, and
biases, which become int32."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeq.foreign.constants import LAYERS
from edgeq.foreign.editor import Editor, dequantizer, zero_type
from edgeq.grid import Grid, quantize_weight
from edgeq.tflite.qdq_values import ON_OWN_GRIDS, grid_of, quantize_constant, read_weight

__all__ = ["note_biases", "quantize_float_operands", "quantize_float_weights"]

BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
SAME = 1e-6  # two float32 products of the same scales differ by less


def quantize_float_weights(editor: Editor) -> None:
    """Put float weights on int8 grids, one a channel from its largest magnitude."""
    for node in list(editor.graph):
        value = node.inputs[1] if node.op_type in LAYERS and len(node.inputs) > 1 else None
        if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
            continue
        values = np.asarray(value.const_value.numpy(), np.float32)
        first = node.op_type == "Conv" or (node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0)))
        axis = 0 if first else 1
        if values.ndim < 2 or node.op_type == "ConvTranspose":
            continue
        rows = np.moveaxis(values, axis, 0)
        weight = quantize_weight(rows, Grid(), per_channel=True, name=f"the weight {value.name}")
        codes = np.ascontiguousarray(np.moveaxis(weight.codes, 0, axis))
        step = np.broadcast_to(weight.step, rows.shape[:1])
        dequantize = editor.dequantized(str(value.name), codes, step, np.zeros(step.shape, np.int8), value, axis)
        editor.graph.insert_before(node, dequantize)
        node.replace_input_with(1, dequantize.outputs[0])
        editor.notes.append(f"the weight {value.name} is float in ONNX: rounded to int8, one scale a channel")


def quantize_float_operands(editor: Editor) -> None:
    """Put constants beside an int8 activation on the grid over their own range, as the TFLite kernel has them, so that
    the ONNX model computes what the file does; a number that stands alone is exact as it is."""
    rounded: dict[ir.Value, ir.Value] = {}
    for node in list(editor.graph):
        sources = [dequantizer(value) for value in node.inputs]
        if node.op_type not in ON_OWN_GRIDS or not any(item and zero_type(item) in BYTES for item in sources):
            continue
        for slot, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.const_value.size < 2:
                continue
            if value not in rounded:
                codes, grid = quantize_constant(value.const_value.numpy(), f"constant {value.name}")
                zero = np.int8(grid.zero_point[0])
                dequantize = editor.dequantized(str(value.name), codes, grid.scale[0], zero, value)
                editor.graph.insert_before(node, dequantize)
                rounded[value] = dequantize.outputs[0]
                editor.notes.append(f"the constant {value.name} is float in ONNX: rounded to int8 over its own range")
            node.replace_input_with(slot, rounded[value])


def note_biases(editor: Editor) -> None:
    """Say which biases are rounded: float ones, and integers at another scale than input x weight."""
    real, rescaled = [], []
    for node in editor.graph:
        if node.op_type not in LAYERS or len(node.inputs) < 3 or node.inputs[2] is None:
            continue
        bias, source = node.inputs[2], dequantizer(node.inputs[0])
        if bias.const_value is not None:
            real.append(str(bias.name))
        elif source is not None and dequantizer(bias) is not None and dequantizer(node.inputs[1]) is not None:
            stored = read_weight(bias, node)
            wanted = grid_of(source).scale[0] * read_weight(node.inputs[1], node).scale
            if not np.allclose(stored.scale, wanted, rtol=SAME, atol=0):
                rescaled.append(stored.name)
    for names, why in ((real, "float in ONNX"), (rescaled, "on a scale of its own in ONNX")):
        if names:
            others = f" (and {len(names) - 1} more)" if names[1:] else ""
            editor.notes.append(f"the bias {names[0]}{others} is {why}: rounded to int32 at input x weight scale")
