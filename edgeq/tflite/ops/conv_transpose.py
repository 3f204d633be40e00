"""Transposed convolutions: ConvTranspose to TRANSPOSE_CONV, and a STRIDED_SLICE where TFLite's padding crops other
rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.layer import add_bias, add_filters
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.window import SAME, VALID, Window, image_order, read_window, result_layout
from edgeq.tflite.qdq_values import node_name, read_weight

__all__ = ["CONV_TRANSPOSE"]


def conv_transpose(low: Lowering, node: ir.Node) -> None:
    """ConvTranspose with any stride, pads and output padding, of one group and undilated."""
    weight = read_weight(node.inputs[1], node, floats=low.floats)
    source = low.activation(node.inputs[0], node, image_order(low, node))
    inputs, outputs, *kernel = weight.codes.shape
    _, height, width, _ = low.tensors[source].shape
    window = read_window(node, (height, width), tuple(kernel))
    _check(node, window)
    if weight.scale.size > 1 and weight.axis != 1:
        raise ExportError("a weight's scales go along its inputs", where=node_name(node), wanted="along its outputs")
    layout = result_layout(low, node)
    size = layout.tensor_shape[1:3]
    padding, computed, start = _crop((height, width), (size[0], size[1]), window)
    scale = np.broadcast_to(weight.scale, (outputs,))
    codes = weight.codes.reshape(inputs, outputs, *window.kernel).transpose(1, 2, 3, 0)
    weight = replace(weight, scale=scale)
    filters = add_filters(low, node, "TRANSPOSE_CONV", weight, codes, 0)
    bias = add_bias(low, node, source, weight, outputs)
    name = f"{node.outputs[0].name}"
    shape = low.add_constant(f"{name}/shape", np.array([1, *computed, outputs], np.int32))
    options = schema.TransposeConvOptionsT(padding=padding, **window.options)
    operands = [shape, filters, source, bias]
    if computed == size:
        low.emit(node, "TRANSPOSE_CONV", operands, options, layout=layout, version=3)
        return
    whole = low.add_activation(f"{name}/whole", (1, *computed, outputs), low.result_grid(node))
    low.add_operator("TRANSPOSE_CONV", operands, [whole], options, version=3)
    bounds = np.array([[0, *start, 0], [1, start[0] + size[0], start[1] + size[1], outputs], [1, 1, 1, 1]], np.int32)
    parts = [
        low.add_constant(f"{name}/{word}", part) for word, part in zip(("begin", "end", "strides"), bounds, strict=True)
    ]
    low.emit(node, "STRIDED_SLICE", [whole, *parts], schema.StridedSliceOptionsT(), layout=layout, version=2)


def _check(node: ir.Node, window: Window) -> None:
    remedies = {
        "group": (node.attributes.get_int("group", 1), 1, "use groups=1, or a Resize and a Conv with groups"),
        "dilations": (window.dilations, (1, 1), "use dilation 1"),
        "auto_pad": (node.attributes.get_string("auto_pad", "NOTSET"), "NOTSET", "give pads"),
        "output_shape": (node.attributes.get_ints("output_shape", ()), (), "give pads and output_padding"),
    }
    for attribute, (got, wanted, remedy) in remedies.items():
        if got != wanted:
            raise ExportError(
                f"a ConvTranspose with this {attribute} is not lowered",
                where=node_name(node),
                got=got,
                wanted=wanted,
                remedy=remedy,
            )


def _crop(
    given: tuple[int, int], wanted: tuple[int, int], window: Window
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """TFLite's padding mode, the size to compute, and where in it the wanted size starts.

    The whole result has ``(size - 1) stride + kernel`` rows. VALID computes it (and rows of bias alone after it); SAME
    leaves out half of the rows too many at the start, the odd one at the end, if so many strides make the size.
    """
    whole = [(given[i] - 1) * window.strides[i] + window.kernel[i] for i in range(2)]
    starts = window.pads[:2]
    if all(start == 0 and wanted[i] >= whole[i] for i, start in enumerate(starts)):
        return VALID, wanted, (0, 0)
    if all(
        start == (whole[i] - wanted[i]) // 2 >= 0 and math.ceil(wanted[i] / window.strides[i]) == given[i]
        for i, start in enumerate(starts)
    ):
        return SAME, wanted, (0, 0)
    computed = [max(whole[i], starts[i] + wanted[i]) for i in range(2)]
    return VALID, (computed[0], computed[1]), (starts[0], starts[1])


CONV_TRANSPOSE = (
    Operation(
        "ConvTranspose",
        "TRANSPOSE_CONV, STRIDED_SLICE",
        conv_transpose,
        limits="[N, C, L] and [N, C, H, W]; one group, no dilations",
    ),
)
