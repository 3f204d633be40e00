"""The integers of checkpoint, ONNX and TFLite, byte for byte: what was trained is what ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import VerifyError
from edgeq.grid import QuantizedWeight
from edgeq.tflite.lower import TO_NCHW
from edgeq.tflite.model import Graph

__all__ = ["IntegerCount", "compare_integers"]


@dataclass(frozen=True, slots=True)
class IntegerCount:
    """Weight integers of a checkpoint and how many of them both files hold."""

    total: int
    kept: int


def compare_integers(trained: Mapping[str, QuantizedWeight], qdq: ir.Model, graph: Graph) -> IntegerCount:
    """Find every trained code in the ONNX and the TFLite file.

    A batch norm's gamma re-signs a channel, and zeroes one that it silences: a channel may be its trained codes, their
    negative, or all zero at step 1 - the same in both files, whose scales must be equal to the bit.

    Args:
        trained: the checkpoint's grid by layer name.
        qdq: the ONNX file.
        graph: the TFLite file.

    Returns:
        The count; equal when this returns.

    Raises:
        VerifyError: a layer is missing or an integer or scale differs; names the first such layer.
    """
    dequantizers = {
        str(node.inputs[0].name): node
        for node in qdq.graph
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None
    }
    columns = _column_orders(graph)
    total = kept = 0
    for layer, weight in trained.items():
        names = [
            name
            for name, value in qdq.graph.initializers.items()
            if name.startswith(f"{layer}.weight") and name.endswith("_quantized") and value.const_value is not None
        ]
        if not names:
            raise VerifyError("the weight is missing", where=f"layer {layer}", wanted="an initializer in the ONNX file")
        total += weight.codes.size * len(names)
        for name in names:
            scale = dequantizers[name].inputs[1] if name in dequantizers else None
            stored = qdq.graph.initializers[name].const_value
            assert stored is not None
            onnx_codes = np.asarray(stored.numpy())
            if onnx_codes.shape != weight.codes.shape and onnx_codes.T.shape == weight.codes.shape:
                onnx_codes = onnx_codes.T  # MatMul stores [I, O]
            onnx_scale = np.atleast_1d(scale.const_value.numpy()) if scale is not None and scale.const_value else None
            tflite_codes, tflite_scale = _tflite_weight(graph, name.removesuffix("_quantized"), weight, columns)
            if not np.array_equal(onnx_codes, tflite_codes):
                different = int(np.count_nonzero(onnx_codes != tflite_codes))
                raise VerifyError(
                    "the integers of the ONNX and the TFLite file differ",
                    where=f"layer {layer}",
                    got=f"{different} of {onnx_codes.size}",
                )
            if onnx_scale is None or not (onnx_scale.astype(np.float32) == tflite_scale).all():
                raise VerifyError("the scales of the ONNX and the TFLite file differ", where=f"layer {layer}")
            kept += _kept(layer, weight, onnx_codes, tflite_scale)
    return IntegerCount(total, kept)


def _kept(layer: str, weight: QuantizedWeight, codes: NDArray[np.int8], scale: NDArray[np.float32]) -> int:
    """All of the layer's integers, or an error for the first channel that is neither +, - nor silenced."""
    outputs = codes.shape[0]
    found, wanted = codes.reshape(outputs, -1), weight.codes.reshape(outputs, -1)
    same = (found == wanted).all(axis=1) | (found == -wanted).all(axis=1)
    silenced = (found == 0).all(axis=1) & (np.broadcast_to(scale, (outputs,)) == 1)
    lost = np.flatnonzero(~(same | silenced))
    if lost.size:
        raise VerifyError(
            "the files do not hold the trained integers",
            where=f"layer {layer}",
            got=f"{lost.size} of {outputs} channels changed, the first {lost[0]}",
            wanted="the checkpoint's codes up to the sign of gamma",
        )
    return codes.size


def _column_orders(graph: Graph) -> dict[str, tuple[int, int, int]]:
    """By weight name: the (H, W, C) of the image that was flattened before a fully-connected layer."""
    producers = graph.producers()
    orders: dict[str, tuple[int, int, int]] = {}
    for operator in graph.operators:
        if operator.kind != "FULLY_CONNECTED":
            continue
        tensor = operator.inputs[0]
        while tensor in producers:
            before = graph.operators[producers[tensor]]
            source = graph.tensors[before.inputs[0]]
            if before.kind == "RESHAPE" and len(source.shape) == 4 and len(graph.tensors[tensor].shape) == 2:
                orders[graph.tensors[operator.inputs[1]].name] = (source.shape[1], source.shape[2], source.shape[3])
                break
            if len(source.shape) != 2 or before.kind in ("FULLY_CONNECTED", "CONCATENATION"):
                break
            tensor = before.inputs[0]
    return orders


def _tflite_weight(
    graph: Graph, name: str, weight: QuantizedWeight, columns: dict[str, tuple[int, int, int]]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight of the TFLite file in PyTorch's layout, and its scale."""
    tensor = next((tensor for tensor in graph.tensors if tensor.name == name), None)
    if tensor is None or tensor.data is None or tensor.quantization is None:
        raise VerifyError("the weight is missing", where=f"layer {name}", wanted="a constant in the TFLite file")
    codes = tensor.data
    if codes.ndim == 4:  # OHWI, or 1HWO for a depthwise convolution
        depthwise = tensor.quantization.axis == 3
        codes = codes.transpose(3, 0, 1, 2) if depthwise else codes.transpose(TO_NCHW)
    elif name in columns:
        height, width, channels = columns[name]
        transposed = _was_transposed(graph, name)
        if not transposed:
            codes = codes.reshape(-1, height, width, channels).transpose(TO_NCHW).reshape(codes.shape)
    if codes.shape != weight.codes.shape:
        raise VerifyError(
            "the weight has another shape", where=f"layer {name}", got=codes.shape, wanted=weight.codes.shape
        )
    return np.ascontiguousarray(codes), tensor.quantization.scale


def _was_transposed(graph: Graph, name: str) -> bool:
    """Whether the image before this layer's flatten was brought to NCHW, so that the columns were left alone."""
    producers = graph.producers()
    for operator in graph.operators:
        if len(operator.inputs) > 1 and graph.tensors[operator.inputs[1]].name == name:
            tensor = operator.inputs[0]
            while tensor in producers:
                before = graph.operators[producers[tensor]]
                if before.kind == "TRANSPOSE":
                    return True
                if before.kind == "RESHAPE" and len(graph.tensors[before.inputs[0]].shape) == 4:
                    above = producers.get(before.inputs[0])
                    return above is not None and graph.operators[above].kind == "TRANSPOSE"
                tensor = before.inputs[0]
    return False
