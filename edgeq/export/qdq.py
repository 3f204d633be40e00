"""Float ONNX on its grids to QDQ ONNX: onnxruntime places QuantizeLinear and DequantizeLinear, the grids are all
ours."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid
from edgeq.export.fold import drop_unused_initializers
from edgeq.grid import QuantizedWeight

__all__ = ["drop_unreachable_channels", "place_qdq"]

FUSED_BEFORE = {"Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "MaxPool", "AveragePool", "Concat"}
INT32_MAX = 2**31 - 1


def place_qdq(model: ir.Model, weights: Mapping[str, QuantizedWeight], grids: Mapping[str, ActivationGrid]) -> ir.Model:
    """Quantize a float model with given grids.

    Args:
        model: float, folded by :func:`edgeq.export.fold.fold_model`; not changed.
        weights: the grid of each convolution and dense weight by initializer name.
        grids: the grid of each activation by value name.

    Returns:
        A QDQ model whose int8 initializers are the codes of ``weights`` and whose scales are their steps. A Relu or
        Clip follows its convolution without Q and DQ between them, so that it can be fused.

    Raises:
        ExportError: a code came out of the quantizer changed; names the weight.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ranges = {
        name: TensorData(lowest=np.float32(grid.low), highest=np.float32(grid.high)) for name, grid in grids.items()
    }
    overrides = {name: [_entry(QuantType.QInt8, grid.scale, grid.zero_point)] for name, grid in grids.items()}
    outputs_first = _weights_outputs_first(model)
    for name, weight in weights.items():
        entries = [_entry(QuantType.QInt8, step, 0) for step in weight.step]
        if len(entries) > 1:
            entries[0]["axis"] = 0 if outputs_first[name] else 1
        overrides[name] = entries
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # the quantizer warns on the root logger of what the overrides make moot
    try:
        quantizer = QDQQuantizer(
            ir.to_proto(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in model.graph}),
            extra_options={
                "TensorQuantOverrides": overrides,
                # It would round the codes again where a bias is large: see drop_unreachable_channels.
                "QDQDisableWeightAdjustForInt32Bias": True,
                # It would drop a Relu on the word of ranges that are not ours.
                "QDQKeepRemovableActivations": True,
            },
        )
        proto = quantizer.quantize_model()
    finally:
        logging.root.setLevel(level)
    result = ir.from_proto(proto)
    result.graph.sort()  # the quantizer appends its nodes at the end
    _join_activations(result)
    _tidy(result)
    _check_codes(result, weights)
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(result)))


def _entry(kind: object, scale: float | np.float32, zero_point: int) -> dict[str, Any]:
    """One grid as onnxruntime's TensorQuantOverrides want it."""
    return {"quant_type": kind, "scale": np.array(scale, np.float32), "zero_point": np.array(zero_point, np.int8)}


def _weights_outputs_first(model: ir.Model) -> dict[str, bool]:
    table = {}
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.inputs[1] is not None:
            first = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
            table[str(node.inputs[1].name)] = first
    return table


def _join_activations(model: ir.Model) -> None:
    """Take out the Q and DQ between a convolution and the Relu or Clip that alone reads it."""
    for node in list(model.graph):
        if node.op_type not in ("Relu", "Clip") or node.inputs[0] is None:
            continue
        dequantize = node.inputs[0].producer()
        quantize = _sole_input(dequantize, "DequantizeLinear")
        before = _sole_input(quantize, "QuantizeLinear")
        if before is None or before.op_type not in FUSED_BEFORE or (node.op_type == "Clip" and not _is_relu6(node)):
            continue
        assert dequantize is not None and quantize is not None
        node.replace_input_with(0, before.outputs[0])
        model.graph.remove([dequantize, quantize], safe=True)


def _sole_input(node: ir.Node | None, kind: str) -> ir.Node | None:
    """What computes the first input of a node of this kind, if the node alone reads it and is itself read once."""
    if node is None or node.op_type != kind or len(node.outputs[0].uses()) != 1 or node.outputs[0].is_graph_output():
        return None
    source = node.inputs[0]
    if source is None or len(source.uses()) != 1 or source.is_graph_output():
        return None
    return source.producer()


def _is_relu6(node: ir.Node) -> bool:
    bounds: list[float | None] = []
    for value in (*node.inputs[1:3],):
        while value is not None and value.producer() is not None:
            producer = value.producer()
            assert producer is not None
            value = producer.inputs[0]
        bounds.append(None if value is None or value.const_value is None else float(value.const_value.numpy()))
    return bounds == [0.0, 6.0]


def _tidy(model: ir.Model) -> None:
    """Leave nothing in the file that says when or where it was made."""
    model.producer_name, model.producer_version, model.doc_string = "edgeq", None, None
    model.metadata_props.clear()
    drop_unused_initializers(model)
    model.opset_imports.pop("com.microsoft", None)
    for domain in [domain for domain in model.opset_imports if domain]:
        if not any(node.domain == domain for node in model.graph):
            del model.opset_imports[domain]


def _check_codes(model: ir.Model, weights: Mapping[str, QuantizedWeight]) -> None:
    """The quantizer was told every grid: hold it to that."""
    for name, weight in weights.items():
        value = model.graph.initializers.get(f"{name}_quantized")
        stored: NDArray[np.int8] | None = None
        if value is not None and value.const_value is not None:
            stored = np.asarray(value.const_value.numpy())
        if stored is None or not np.array_equal(stored, weight.codes):
            raise ExportError(
                "the quantizer did not keep the codes", where=f"weight {name}", remedy="please report this network"
            )


def drop_unreachable_channels(
    model: ir.Model, weights: dict[str, QuantizedWeight], grids: Mapping[str, ActivationGrid]
) -> list[str]:
    """Zero the weights of channels whose step is so small that the bias would not fit int32 beside it.

    A batch norm can shrink a channel's step until its int32 bias (at input scale x step) overflows. If all its weights
    together cannot move the output by half a code they are zeroed, as for gamma = 0: codes 0, step 1.

    Args:
        model: the folded float model; its initializers are changed with ``weights``.
        weights: by initializer name; changed entries are replaced.
        grids: of the activations.

    Returns:
        A line for each such channel.

    Raises:
        ExportError: the weights of such a channel matter; names layer and channel.
    """
    lines = []
    for node in model.graph:
        name = str(node.inputs[1].name) if len(node.inputs) > 2 and node.inputs[1] is not None else ""
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if name not in weights or bias is None or bias.const_value is None or node.inputs[0] is None:
            continue
        weight, values = weights[name], np.asarray(bias.const_value.numpy(), np.float64)
        source, result = grids[str(node.inputs[0].name)], grids[str(_after(node).name)]
        step = np.broadcast_to(weight.step, values.shape).astype(np.float64)
        over = np.flatnonzero(np.abs(values) > INT32_MAX * source.scale * step)
        if not over.size:
            continue
        reach = max(abs(source.low), abs(source.high))
        codes, steps = weight.codes.copy(), step.astype(np.float32)
        for channel in over:
            layer = name.removesuffix(".weight")
            moved = np.abs(codes[channel].astype(np.float64)).sum() * step[channel] * reach
            if moved > result.scale / 2:
                raise ExportError(
                    f"the bias of channel {channel} does not fit int32 at this layer's scale",
                    where=f"layer {layer}",
                    got=f"{values[channel]:.3g} at a step of {source.scale * step[channel]:.3g}",
                    remedy="prune the channel, or put weight decay on gamma: its weights are almost zero",
                )
            codes[channel], steps[channel] = 0, 1.0
            lines.append(f"layer {layer}, channel {channel}: weights too small to move the output were set to 0")
        weights[name] = replace(weight, codes=codes, step=steps)
        stored = node.inputs[1]
        assert stored is not None
        stored.const_value = ir.tensor(weights[name].values, name=name)
    return lines


def _after(node: ir.Node) -> ir.Value:
    """The value whose grid a layer's result is rounded to: its own, or that of the Relu that alone reads it."""
    uses = list(node.outputs[0].uses())
    if len(uses) == 1 and uses[0][0].op_type in ("Relu", "Clip"):
        return uses[0][0].outputs[0]
    return node.outputs[0]
