"""The integers of checkpoint, ONNX and TFLite, byte for byte: what was trained is what ships."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import VerifyError
from edgeq.export.layer_parts import CODES_SUFFIX, output_axis
from edgeq.grid import QuantizedWeight
from edgeq.tflite.layout import TO_NCHW, Layout
from edgeq.tflite.model import Graph, Operator

__all__ = ["compare_integers", "onnx_weight"]

WEIGHT_NAME = re.compile(r"(.+)\.weight(?:_\d+)?")


def compare_integers(
    trained: Mapping[str, QuantizedWeight], qdq: ir.Model, graph: Graph, layouts: Mapping[str, Layout]
) -> int:
    """Find every trained code in the ONNX and the TFLite file.

    A batch norm's gamma re-signs a channel, and zeroes one that it silences: a channel may be its trained codes, their
    negative, or all zero at step 1 (or a power of two below it) - the same in both files, whose scales must be equal to
    the bit.

    Args:
        trained: the checkpoint's grid by layer name, or by the exact name of an initializer.
        qdq: the ONNX file.
        graph: the TFLite file.
        layouts: of :class:`edgeq.tflite.convert.Conversion`.

    Returns:
        How many there are; one that is lost is an error. A layer that is used twice counts twice.

    Raises:
        VerifyError: a layer is missing or an integer or scale differs; names the first such layer.
    """
    total = 0
    initializers, readers = _initializers_by_layer(qdq), _readers_by_weight(graph)
    for layer, weight in trained.items():
        if layer not in initializers:
            raise VerifyError("the weight is missing", where=f"layer {layer}", wanted="an initializer in the ONNX file")
        for name in initializers[layer]:
            codes, scale = onnx_weight(qdq, name, layer)
            reader = readers.get(name.removesuffix(CODES_SUFFIX))
            if reader is None:
                raise VerifyError(
                    "the weight is missing", where=f"layer {layer}", wanted="a constant in the TFLite file"
                )
            tflite_codes, tflite_scale = _tflite_weight(graph, reader, layouts)
            if codes.ndim == 3 and tflite_codes.ndim == 4 and tflite_codes.shape[2] == 1:  # a sequence, as one row
                tflite_codes = tflite_codes[:, :, 0]
            if codes.shape != tflite_codes.shape or not np.array_equal(codes, tflite_codes):
                same = codes.shape == tflite_codes.shape
                raise VerifyError(
                    "the integers of the ONNX and the TFLite file differ",
                    where=f"layer {layer}",
                    got=f"{np.count_nonzero(codes != tflite_codes)} of {codes.size}" if same else tflite_codes.shape,
                )
            if not (scale == tflite_scale).all():
                raise VerifyError("the scales of the ONNX and the TFLite file differ", where=f"layer {layer}")
            _check_trained(layer, weight, codes, scale)
            total += codes.size
    return total


def _check_trained(layer: str, weight: QuantizedWeight, codes: NDArray[np.int8], scale: NDArray[np.float32]) -> None:
    """All of the layer's integers, or an error for the first channel that is neither +, - nor silenced."""
    if codes.shape != weight.codes.shape:
        raise VerifyError(
            "the weight has another shape", where=f"layer {layer}", got=codes.shape, wanted=weight.codes.shape
        )
    outputs = codes.shape[0]
    found, wanted = codes.reshape(outputs, -1), weight.codes.reshape(outputs, -1)
    same = (found == wanted).all(axis=1) | (found == -wanted).all(axis=1)
    mantissa, exponent = np.frexp(np.broadcast_to(scale, (outputs,)))
    silenced = (found == 0).all(axis=1) & (mantissa == 0.5) & (exponent <= 1)  # 1, or a power of two below it
    lost = np.flatnonzero(~(same | silenced))
    if lost.size:
        raise VerifyError(
            "the files do not hold the trained integers",
            where=f"layer {layer}",
            got=f"{lost.size} of {outputs} channels changed, the first {lost[0]}",
            wanted="the checkpoint's codes up to the sign of gamma",
        )


def onnx_weight(qdq: ir.Model, name: str, layer: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight of the ONNX file in PyTorch's layout, outputs first, and its scale, float32 [1] or [O].

    Args:
        qdq: the ONNX file.
        name: of the int8 initializer.
        layer: for the message.

    Raises:
        VerifyError: nothing computes with it.
    """
    value = qdq.graph.initializers[name]
    for dequantize, _ in value.uses():
        scale = dequantize.inputs[1] if dequantize.op_type == "DequantizeLinear" else None
        for node, _ in dequantize.outputs[0].uses():
            if scale is None or scale.const_value is None or value.const_value is None:
                continue
            codes = np.asarray(value.const_value.numpy()).astype(np.int8)  # int4 is no type of numpy's own
            outputs_first = np.moveaxis(codes, output_axis(node), 0)
            return outputs_first, np.atleast_1d(np.asarray(scale.const_value.numpy(), np.float32))
    raise VerifyError("the weight is not used in the ONNX file", where=f"layer {layer}", got=name)


def _initializers_by_layer(qdq: ir.Model) -> dict[str, list[str]]:
    """The quantized initializers of each layer: its weight, and the copies made where the layer is used twice."""
    table: dict[str, list[str]] = {}
    for name in qdq.graph.initializers:
        if name.endswith(CODES_SUFFIX):
            stem = name.removesuffix(CODES_SUFFIX)
            match = WEIGHT_NAME.fullmatch(stem)
            for layer in {stem, match[1] if match else stem}:
                table.setdefault(layer, []).append(name)
    return table


def _readers_by_weight(graph: Graph) -> dict[str, Operator]:
    """The operation that computes with each constant in second place, by the constant's name."""
    table: dict[str, Operator] = {}
    for operator in graph.operators:
        tensor = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
        if tensor is not None and tensor.data is not None and tensor.quantization is not None:
            table.setdefault(tensor.name, operator)
    return table


def _tflite_weight(
    graph: Graph, operator: Operator, layouts: Mapping[str, Layout]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The weight an operation computes with, in PyTorch's layout, and its scale."""
    tensor = graph.tensors[operator.inputs[1]]
    assert tensor.data is not None and tensor.quantization is not None
    codes = tensor.data
    if operator.kind == "DEPTHWISE_CONV_2D":
        codes = codes.transpose(3, 0, 1, 2)
    elif operator.kind in ("CONV_2D", "TRANSPOSE_CONV"):
        codes = codes.transpose(TO_NCHW)
    elif (layout := layouts.get(tensor.name)) is not None:
        codes = layout.to_onnx(codes)
    return codes, tensor.quantization.scale
