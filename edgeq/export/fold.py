"""Fold batch norms into the convolutions before them, with the integer codes kept.

``q' = sign(gamma) q`` and ``s' = s |gamma| / sqrt(var + eps)``: a step a channel takes up the whole of the batch
norm's scale, so no weight is rounded again. What the fold cannot keep exactly it does not do: a batch norm with no
convolution of its own before it becomes a depthwise 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.batch_norm import BatchNorm, array_of, constant_of, following_norm, norm_parameters, present
from edgeq.export.layer_parts import (
    along_outputs,
    bias_place,
    has_weights,
    layer_name,
    output_axis,
    parameter_of,
    step_repeats,
)
from edgeq.grid import Grid, QuantizedWeight, quantize_weight

__all__ = [
    "TRANSPOSED",
    "FoldedLayer",
    "drop_unused_initializers",
    "fold_batch_norm",
    "fold_model",
    "fold_untrained",
]

TRANSPOSED = "edgeq.transposed"
"""Marks an initializer that holds a parameter transposed: a Linear's weight [O, I] as a MatMul's [I, O]."""

AXIS_2 = "edgeq.axis_2"


GridOf = Callable[[str], Grid | None]


@dataclass(frozen=True, slots=True)
class FoldedLayer:
    """A convolution or fully-connected layer as it will be computed.

    Attributes:
        weight: codes int8, step float32 [1] or [O].
        bias: float32 [O], in output units.
        axis: the weight's axis of outputs: 0 in a convolution, 1 in a transposed one or a Gemm without transB.
    """

    weight: QuantizedWeight
    bias: NDArray[np.float32]
    axis: int = 0


def fold_batch_norm(layer: FoldedLayer, norm: BatchNorm, *, name: str = "layer") -> FoldedLayer:
    """Fold an inference batch norm into the layer before it; the integer codes are kept.

    Args:
        layer: codes int8, step float32 [1] or [O], bias float32 [O].
        norm: its parameters, float32 [O].
        name: the layer's name, for messages.

    Returns:
        The layer with codes re-signed where gamma is negative and step float32 [O]. A channel whose gamma is 0 (or
        whose step would fall below the smallest normal float32) gets codes 0 and step 1.

    Raises:
        ExportError: a parameter is not finite or a variance is negative; the message names layer and channel.

    Source: Jacob et al. 2017, arXiv:1712.05877, section 3.2; the sign is ours.
    """
    factor = norm.factor(name)
    step = (layer.weight.step.astype(np.float64) * np.abs(factor)).astype(np.float32)
    dead = step < np.finfo(np.float32).tiny
    step[dead] = 1.0
    sign = np.where(dead, 0, np.sign(factor)).astype(np.int8)
    codes = layer.weight.codes * along_outputs(sign, layer.weight.codes.ndim, layer.axis)
    bias = (layer.bias.astype(np.float64) - norm.mean) * factor + norm.beta
    return FoldedLayer(replace(layer.weight, codes=codes, step=step), bias.astype(np.float32), layer.axis)


def fold_model(
    model: ir.Model, weights: dict[str, QuantizedWeight], *, grid_of: GridOf | None = None, per_channel: bool = True
) -> dict[str, QuantizedWeight]:
    """Fold every batch norm of a float model and put all convolution and dense weights on integer grids.

    Args:
        model: changed in place: batch norms are gone and the initializers hold ``codes * step``.
        weights: the trained grids, by initializer name (``layer1.0.conv1.weight``), in PyTorch's layout. A weight
            that is not among them is rounded from max-abs.
        grid_of: by layer name, for the weights that are not in ``weights``: their grid, or None where they stay float;
            8 bits when left out.
        per_channel: round these after the fold with a step an output channel, or before it with one a tensor.

    Returns:
        The grids of all Conv, ConvTranspose, Gemm and MatMul weights after the fold, by initializer name.

    Raises:
        ExportError: weights or batch-norm parameters that are not finite, shapes that do not fit; names the layer.
    """
    folded: dict[str, QuantizedWeight] = {}
    grid_of = grid_of or (lambda _layer: Grid())
    for node in list(model.graph):
        if has_weights(node):
            _own_weight(model, node)
            stored = present(node.inputs[1])
            norm, grid = following_norm(node), grid_of(layer_name(node))
            if grid is None and parameter_of(stored) not in weights:
                _fold_float(model, node, norm)
                continue
            layer = _layer(node, weights.get(parameter_of(stored)), grid or Grid(), per_channel)
            if norm is not None:
                keep = parameter_of(stored) in weights or not per_channel
                layer = _fold_node(node, norm, layer, keep, grid or Grid())
            folded[str(stored.name)] = layer.weight
            _store(model, node, layer)
        elif node.op_type == "BatchNormalization" and node.graph is not None:  # not folded: it follows no layer
            name, layer = _depthwise(model, node)
            folded[name] = layer.weight
    drop_unused_initializers(model)
    return folded


def fold_untrained(model: ir.Model, trained: Container[str]) -> None:
    """Fold batch norms in float, into the weights that have no grid yet, and nothing else; ``fold_model`` rounds after.

    Args:
        model: changed in place.
        trained: the initializers that :func:`fold_model` will keep the codes of.

    Raises:
        ExportError: weights or batch-norm parameters that are not finite; names the layer.
    """
    for node in list(model.graph):
        if has_weights(node):
            _own_weight(model, node)
            if parameter_of(present(node.inputs[1])) not in trained:
                _fold_float(model, node, following_norm(node))
    drop_unused_initializers(model)


def drop_unused_initializers(model: ir.Model) -> None:
    """Leave out the constants that nothing reads."""
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]


def _fold_float(model: ir.Model, node: ir.Node, norm: ir.Node | None) -> None:
    """A layer whose weights stay float: its batch norm goes into them and its bias, computed in float64."""
    stored, axis = present(node.inputs[1]), output_axis(node)
    values, bias = _checked(node, str(stored.name).removesuffix(".weight"))
    if norm is None:
        return
    parameters = norm_parameters(norm)
    factor = parameters.factor(str(stored.name).removesuffix(".weight"))
    scaled = values.astype(np.float64) * along_outputs(factor, values.ndim, axis)
    bias = ((bias.astype(np.float64) - parameters.mean) * factor + parameters.beta).astype(np.float32)
    _replace_output(norm, node)
    stored.const_value = ir.tensor(scaled.astype(np.float32), name=stored.name)
    _store_bias(model, node, bias)


def _layer(node: ir.Node, trained: QuantizedWeight | None, grid: Grid, per_channel: bool) -> FoldedLayer:
    """The layer of a node before the fold, on its trained grid or on one of its own."""
    stored = present(node.inputs[1])
    name = str(stored.name).removesuffix(".weight")
    values, given = _checked(node, name)
    if trained is not None and TRANSPOSED in stored.metadata_props:
        trained = replace(trained, codes=np.ascontiguousarray(trained.codes.T))
    if trained is not None and trained.codes.shape != values.shape:
        raise ExportError(
            "the trained codes do not fit the weight",
            where=f"layer {name}",
            got=trained.codes.shape,
            wanted=values.shape,
        )
    axis = output_axis(node)
    if trained is None:
        trained = _rounded(values, axis, grid, name, per_channel=per_channel)
    return FoldedLayer(trained, given, axis)


def _checked(node: ir.Node, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A layer's weight and its bias [O], which are finite."""
    values, axis = array_of(present(node.inputs[1])), output_axis(node)
    if not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise ExportError(
            "the weight has values that are NaN or infinite", where=f"layer {name}", got=f"{bad} of {values.size}"
        )
    outputs = values.shape[axis] * step_repeats(node)
    place = bias_place(node)
    bias = None if place is None else place[0].inputs[place[1]]
    constant = constant_of(bias)
    if bias is not None and constant is None:
        raise ExportError("the bias is computed, not stored", where=f"layer {name}")
    if constant is not None and constant.size not in (1, outputs):
        raise ExportError("the bias has no value an output", where=f"layer {name}", got=constant.shape, wanted=outputs)
    given = np.zeros(outputs, np.float32) if constant is None else np.broadcast_to(constant.ravel(), (outputs,))
    if not np.isfinite(given).all():
        raise ExportError("the bias has values that are NaN or infinite", where=f"layer {name}")
    return values, given.astype(np.float32)


def _rounded(
    values: NDArray[np.float32], axis: int, grid: Grid, name: str, *, per_channel: bool = True
) -> QuantizedWeight:
    """A weight on a grid of its own."""
    rows = np.moveaxis(values, axis, 0)
    quantized = quantize_weight(rows, grid, per_channel=per_channel, name=f"layer {name}")
    return replace(quantized, codes=np.ascontiguousarray(np.moveaxis(quantized.codes, 0, axis)))


def _fold_node(node: ir.Node, norm: ir.Node, layer: FoldedLayer, keep: bool, grid: Grid) -> FoldedLayer:
    """Fold one batch norm; a weight whose codes need not be kept is folded in float and rounded after."""
    name = str(present(node.inputs[1]).name).removesuffix(".weight")
    parameters = norm_parameters(norm)
    if keep:
        layer = fold_batch_norm(layer, parameters, name=name)
    else:
        factor = parameters.factor(name)
        values = array_of(present(node.inputs[1])).astype(np.float64)
        values = values * along_outputs(factor, values.ndim, layer.axis)
        bias = (layer.bias.astype(np.float64) - parameters.mean) * factor + parameters.beta
        weight = _rounded(values.astype(np.float32), layer.axis, grid, name)
        layer = FoldedLayer(weight, bias.astype(np.float32), layer.axis)
    _replace_output(norm, node)
    return layer


def _replace_output(norm: ir.Node, node: ir.Node) -> None:
    """The convolution takes the batch norm's place; a result of the network keeps its name."""
    before, after = node.outputs[0], norm.outputs[0]
    name = after.name if after.is_graph_output() else before.name
    after.replace_all_uses_with(before, replace_graph_outputs=True)
    assert norm.graph is not None
    norm.graph.remove(norm, safe=True)
    before.name = name
    before.metadata_props.clear()  # it is the other value now
    before.metadata_props.update(after.metadata_props)


def _store(model: ir.Model, node: ir.Node, layer: FoldedLayer) -> None:
    """Write ``codes * step`` and the bias into the graph."""
    stored = present(node.inputs[1])
    codes, name = layer.weight.codes, str(stored.name)
    step = along_outputs(layer.weight.step, codes.ndim, layer.axis)
    # Made when it is asked for: the floats are four times the size of the codes, and only calibration reads them.
    stored.const_value = ir.LazyTensor(
        lambda: ir.tensor(codes.astype(np.float32) * step, name=name),
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(codes.shape),
        name=name,
    )
    _store_bias(model, node, layer.bias)


def _store_bias(model: ir.Model, node: ir.Node, bias: NDArray[np.float32]) -> None:
    if node.op_type == "MatMul":  # has no batch norm: the bias in the Add behind it stays
        return
    stem = str(present(node.inputs[1]).name).removesuffix(".weight")
    old = node.inputs[2] if len(node.inputs) > 2 else None
    if old is not None and len(old.uses()) == 1:
        node.replace_input_with(2, None)
        model.graph.initializers.pop(str(old.name), None)
    elif len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, _initializer(model, f"{stem}.bias", bias))


def _own_weight(model: ir.Model, node: ir.Node) -> None:
    """A weight that two nodes share gets a copy each: their batch norms may differ."""
    stored = present(node.inputs[1])
    if len(stored.uses()) > 1:
        copy = _initializer(model, str(stored.name), array_of(stored))
        copy.metadata_props.update({key: value for key, value in stored.metadata_props.items() if key == TRANSPOSED})
        node.replace_input_with(1, copy)


def _initializer(model: ir.Model, name: str, data: NDArray[np.float32]) -> ir.Value:
    unique, number = name, 1
    while unique in model.graph.initializers:
        unique, number = f"{name}_{number}", number + 1
    value = ir.Value(name=unique, shape=ir.Shape(data.shape), type=ir.TensorType(ir.DataType.FLOAT))
    value.const_value = ir.tensor(np.ascontiguousarray(data), name=unique)
    if unique != name:
        value.metadata_props["edgeq.origin"] = name
    model.graph.register_initializer(value)
    return value


def _depthwise(model: ir.Model, norm: ir.Node) -> tuple[str, FoldedLayer]:
    """A batch norm of its own as a depthwise 1x1 convolution: codes +-127, the factor in the steps, exactly."""
    name = norm.name or str(norm.outputs[0].name)
    parameters = norm_parameters(norm)
    source, shape = norm.inputs[0], norm.inputs[0].shape if norm.inputs[0] is not None else None
    if shape is None or len(shape) not in (2, 3, 4):
        raise ExportError(
            "a batch norm that follows no convolution is lowered for [N, C], [N, C, L] and [N, C, H, W] only",
            where=f"layer {name}",
            got=shape,
        )
    channels, ones = parameters.gamma.size, [1] * max(len(shape) - 2, 1)
    unit = FoldedLayer(
        QuantizedWeight(np.full((channels, 1, *ones), 127, np.int8), np.full(1, 1 / 127, np.float32), Grid(), 0.0),
        np.zeros(channels, np.float32),
    )
    layer = fold_batch_norm(unit, parameters, name=name)
    weight = _initializer(model, f"{name}.weight", layer.weight.values)
    bias = _initializer(model, f"{name}.bias", layer.bias)
    assert norm.graph is not None
    nodes = []
    if len(shape) == 2:  # as a sequence of length 1
        axes = model.graph.initializers.get(AXIS_2) or _axis_2(model)
        nodes.append(ir.node("Unsqueeze", [source, axes], name=f"{name}.unsqueeze"))
        source = _named(nodes[-1], f"{name}.unsqueezed", (*shape, 1), norm)
    nodes.append(ir.node("Conv", [source, weight, bias], {"group": channels, "kernel_shape": ones}, name=name))
    if len(shape) == 2:
        source = _named(nodes[-1], f"{name}.scaled", (*shape, 1), norm)
        nodes.append(ir.node("Squeeze", [source, axes], name=f"{name}.squeeze"))
    _named(nodes[-1], str(norm.outputs[0].name), tuple(shape), norm)
    norm.graph.insert_before(norm, nodes)
    _replace_output(norm, nodes[-1])
    return str(weight.name), layer


def _named(node: ir.Node, name: str, shape: tuple[int | ir.SymbolicDim, ...], like: ir.Node) -> ir.Value:
    """A node's output with the name and shape given and the type of another's."""
    value = node.outputs[0]
    value.name, value.shape, value.type = name, ir.Shape(shape), like.outputs[0].type
    return value


def _axis_2(model: ir.Model) -> ir.Value:
    axes = ir.Value(name=AXIS_2, shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    axes.const_value = ir.tensor(np.array([2], np.int64), name=AXIS_2)
    model.graph.register_initializer(axes)
    return axes
