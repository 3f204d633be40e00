"""Fold the batch norms that a producer left behind its quantized convolutions: the codes are kept, the scales take the
factor up."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.batch_norm import BatchNorm
from edgeq.foreign.editor import DEQUANTIZE, Editor, dequantizer
from edgeq.tflite.qdq_values import node_name, read_real_constant, read_weight

__all__ = ["fold_batch_norms"]


def fold_batch_norms(editor: Editor) -> None:
    """Fold each BatchNormalization that alone reads a convolution or Gemm with quantized weights.

    Raises:
        ExportError: it is in training mode, follows something else, or has parameters that cannot be used.
    """
    for norm in [node for node in editor.graph if node.op_type == "BatchNormalization"]:
        if norm.attributes.get_int("training_mode", 0):
            raise ExportError(
                "is in training mode",
                where=node_name(norm),
                got="training_mode 1",
                wanted=0,
                remedy="call model.eval() before the export",
            )
        layer = norm.inputs[0].producer() if norm.inputs[0] is not None else None
        alone = layer is not None and len(layer.outputs[0].uses()) == 1 and not layer.outputs[0].is_graph_output()
        if layer is None or not alone or layer.op_type not in ("Conv", "Gemm"):
            _fold(editor, _unit(editor, norm), norm)
            editor.notes.append(f"{node_name(norm)} follows no convolution: it became a depthwise one, exactly")
        elif dequantizer(layer.inputs[1]) is not None:
            name = _fold(editor, layer, norm)
            editor.notes.append(f"{node_name(norm)} folded: the codes of {name} are kept, its scales take it up")
        else:
            raise ExportError(
                "a weight is not quantized",
                where=node_name(layer),
                got=getattr(layer.inputs[1], "name", None),
                wanted="DequantizeLinear",
                remedy="give --calibration-data to quantize what was left in float",
            )


def _unit(editor: Editor, norm: ir.Node) -> ir.Node:
    """A depthwise 1x1 convolution by one, for a batch norm of its own to be folded into: codes 127, exactly."""
    source, gamma = norm.inputs[0], norm.inputs[1]
    rank = None if source is None or source.shape is None else source.shape.rank()
    if source is None or gamma is None or rank != 4:
        raise ExportError(
            "follows no convolution that it could be folded into",
            where=node_name(norm),
            got=f"{rank} dimensions",
            wanted="4",
            remedy="fold batch norms before quantizing",
        )
    name, channels = str(norm.outputs[0].name), _real(gamma, norm).size
    inputs = [
        editor.constant(f"{name}.weight_quantized", np.full((channels, 1, 1, 1), 127, np.int8)),
        editor.constant(f"{name}.weight_scale", np.full(channels, 1 / 127, np.float32)),
        editor.constant(f"{name}.weight_zero_point", np.zeros(channels, np.int8)),
    ]
    dequantize = editor.node(DEQUANTIZE, inputs, f"{name}_real", source, None, {"axis": 0})
    conv = editor.node("Conv", [source, dequantize.outputs[0]], f"{name}_product", source, None, {"group": channels})
    editor.graph.insert_before(norm, [dequantize, conv])
    norm.replace_input_with(0, conv.outputs[0])
    return conv


def _fold(editor: Editor, layer: ir.Node, norm: ir.Node) -> str:
    """Fold, and give the weight's name."""
    weight = read_weight(layer.inputs[1], layer)
    axis = 0 if layer.op_type == "Conv" or bool(layer.attributes.get_int("transB", 0)) else 1
    channels = weight.codes.shape[axis]
    if weight.scale.size > 1 and weight.axis != axis:
        raise ExportError("the scales go along the inputs", where=node_name(layer), got=weight.axis, wanted=axis)
    gamma, beta, mean, variance = (_real(value, norm).astype(np.float32) for value in norm.inputs[1:5])
    batch_norm = BatchNorm(gamma, beta, mean, variance, norm.attributes.get_float("epsilon", 1e-5))
    factor = batch_norm.factor(weight.name)
    step = (weight.scale.astype(np.float64) * np.abs(factor)).astype(np.float32)
    dead = step < np.finfo(np.float32).tiny
    sign = np.where(dead, 0, np.sign(factor)).astype(np.int8)
    shape = tuple(-1 if i == axis else 1 for i in range(weight.codes.ndim))
    bias = np.zeros(channels) if len(layer.inputs) < 3 or layer.inputs[2] is None else _real(layer.inputs[2], layer)
    bias = (np.broadcast_to(bias.ravel(), (channels,)) - batch_norm.mean) * factor + batch_norm.beta
    name = weight.name
    stored, codes = layer.inputs[1], weight.codes * sign.reshape(shape)
    assert stored is not None
    steps, zeros = np.where(dead, np.float32(1), step), np.zeros(channels, np.int8)
    dequantize = editor.dequantized(name, codes, steps, zeros, stored, axis)
    editor.graph.insert_before(layer, dequantize)
    layer.replace_input_with(1, dequantize.outputs[0])
    if len(layer.inputs) < 3:
        layer.resize_inputs(3)
    layer.replace_input_with(2, editor.constant(f"{name.removesuffix('.weight')}.bias", bias.astype(np.float32)))
    before, after = layer.outputs[0], norm.outputs[0]
    after_name = after.name
    after.replace_all_uses_with(before, replace_graph_outputs=True)
    editor.graph.remove(norm, safe=True)
    before.name = after_name
    return name


def _real(value: ir.Value | None, node: ir.Node) -> NDArray[np.float64]:
    assert value is not None
    real: NDArray[np.float64] = read_real_constant(value, node).astype(np.float64)
    return real
