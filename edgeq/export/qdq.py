"""Float ONNX on its grids to QDQ ONNX: every activation between a QuantizeLinear and a DequantizeLinear, every constant
its integers.

onnxruntime's quantizer is not asked: it leaves out the pairs that onnxruntime has no use for (before a pool or a
reshape of a network's input) and rounds weights again where a bias is large. The names are those that it would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid, activation_values
from edgeq.export.channels import INT32_MAX
from edgeq.export.fold import drop_unused_initializers
from edgeq.export.layer_parts import CODES_SUFFIX, bias_place, has_weights, layer_name, output_axis, step_repeats
from edgeq.grid import QuantizedWeight
from edgeq.modes import Mode, Plan
from edgeq.tflite.clamp import bounds_of
from edgeq.tflite.gelu import find_gelus
from edgeq.tflite.qdq_values import ON_OWN_GRIDS, quantize_constant

__all__ = ["INT4_MAX", "pack_codes", "place_qdq", "quantized_values"]

FUSED_BEFORE = {"Add", "Conv", "ConvTranspose", "Div", "Gemm", "MatMul", "Mul", "Sub"}  # have a grid of their own
INT4_MAX = 7

GridsByType = Mapping[str, Mapping[str, ActivationGrid]]


def place_qdq(
    model: ir.Model, weights: Mapping[str, QuantizedWeight], grids: GridsByType, plan: Plan | None = None
) -> ir.Model:
    """Quantize a float model with given grids.

    Args:
        model: float, folded by :func:`edgeq.export.fold.fold_model`; not changed.
        weights: the grid of each convolution and dense weight by initializer name.
        grids: by type (``int8``, ``int16``), the grid of each activation by value name.
        plan: what each layer computes in; int8 when left out.

    Returns:
        A QDQ model whose int8 initializers are the codes of ``weights`` and whose scales are their steps. A Relu or
        Clip follows its convolution without Q and DQ between them, so that it can be fused. Where a layer reads another
        type than the one that a value is made in, an Identity with a pair of its own stands between them; what is
        computed in float32 has no pair.
    """
    result = model.clone()  # which shares the constants
    plan = plan or Plan()
    activations, rounded = activation_values(result), quantized_values(result)
    inner = {node for chain in find_gelus(result.graph) for node in chain.inner}
    chained = inner | {chain.last for chain in find_gelus(result.graph)}
    fused = set(activations) - set(rounded)
    modes = _modes(result.graph, plan, fused)
    for node in list(result.graph):
        if node in chained:
            continue
        mode, stored = modes[node], node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type in ON_OWN_GRIDS:
            _quantize_operands(node, mode, plan)
        elif stored is not None and str(stored.name) in weights and mode.weights == "int8":
            _quantize_layer(node, weights[str(stored.name)], grids, mode)
        elif mode.weights == "float16" and has_weights(node):
            _store_half(node)
        elif node.op_type == "MatMul":
            _quantize_operands(node, mode, plan)
    types = {node: mode.activations for node, mode in modes.items()}
    for value in rounded:
        _quantize_activation(result.graph, value, grids, types, plan.mode.activations)
    if plan.packed:
        pack_codes(result, [name for name, weight in weights.items() if weight.grid.qmax <= INT4_MAX])
    elif "int16" in plan.uses:
        _need_opset_21(result)
    drop_unused_initializers(result)
    result.producer_name, result.producer_version, result.doc_string = "edgeq", None, None
    result.metadata_props.clear()
    return result


def pack_codes(model: ir.Model, names: Iterable[str]) -> None:
    """Store codes of weights as INT4, two a byte, and change nothing else.

    Args:
        model: quantized by :func:`place_qdq`; changed in place.
        names: the float initializers that the codes, -7 to 7, were made from; one that stayed float is passed over.
    """
    for name in names:
        codes = model.graph.initializers.get(f"{name}{CODES_SUFFIX}")
        for user, _ in () if codes is None else codes.uses():
            for value in (user.inputs[0], user.inputs[2]):  # DequantizeLinear takes both in one type
                assert value is not None and value.const_value is not None
                packed = value.const_value.numpy().astype(ml_dtypes.int4)
                value.const_value, value.type = ir.tensor(packed, name=value.name), ir.TensorType(ir.DataType.INT4)
    _need_opset_21(model)


def _need_opset_21(model: ir.Model) -> None:
    """Since which QuantizeLinear and DequantizeLinear take INT4 and INT16."""
    model.opset_imports[""] = max(model.opset_imports[""], 21)
    model.ir_version = max(model.ir_version or 0, 10)


def quantized_values(model: ir.Model) -> list[ir.Value]:
    """The activations of a folded float model that get Q and DQ where all is int8: what no kernel keeps inside."""
    inner = {node for chain in find_gelus(model.graph) for node in chain.inner}
    return [value for value in activation_values(model) if not _is_fused(value) and value.producer() not in inner]


def _modes(graph: ir.Graph, plan: Plan, fused: set[ir.Value]) -> dict[ir.Node, Mode]:
    """What each node computes in; what is fused with another computes as that does."""
    modes: dict[ir.Node, Mode] = {}
    for node in graph:
        before = next((value.producer() for value in node.inputs if value in fused), None)
        modes[node] = plan.mode_of(layer_name(node)) if before is None else modes[before]
    return modes


def _quantize_activation(
    graph: ir.Graph, value: ir.Value, grids: GridsByType, types: Mapping[ir.Node, str], base: str
) -> None:
    """Put Q and DQ between a value and all that reads it; what reads another type gets it through an Identity."""
    name, producer = str(value.name), value.producer()
    readers: dict[str, list[tuple[ir.Node, int]]] = {}
    for user, slot in value.uses():
        readers.setdefault(types[user], []).append((user, slot))
    if value.is_graph_output():
        readers.setdefault(base, [])
    own = base if producer is None else types[producer]
    if own == "float32" and len(readers) == 1:
        own = next(iter(readers))  # rounded at once to what all read
    others = {kind: users for kind, users in readers.items() if kind not in (own, "float32")}
    outside = value.is_graph_output() and base in others
    before = graph.outputs.index(value) if outside else None
    if before is not None:
        value.name = f"{name}_{own}"
    kept = [use for kind, users in readers.items() if kind not in others for use in users]
    source = value
    if own != "float32":
        source = _pair(graph, value, grids[own][name], kept, output=value.is_graph_output() and not outside)
    for kind, users in others.items():
        identity = ir.node("Identity", [source], name=f"{name}_to_{kind}")
        between = identity.outputs[0]
        between.name, between.shape, between.type = f"{name}_as_{kind}", value.shape, value.type
        if before is not None and kind == base:
            between.name = name
            graph.outputs[before] = between
        made = source.producer()
        if made is None:
            graph.insert_before(graph[0], identity)
        else:
            graph.insert_after(made, identity)
        _pair(graph, between, grids[kind][name], users, output=before is not None and kind == base)


def _pair(
    graph: ir.Graph, value: ir.Value, grid: ActivationGrid, users: Sequence[tuple[ir.Node, int]], *, output: bool
) -> ir.Value:
    """Q and DQ after a value; what comes out of them. A result of the graph keeps its name."""
    name = str(value.name)
    parameters = _parameters(graph, name, np.float32(grid.scale), np.dtype(grid.dtype).type(grid.zero_point))
    quantize = ir.node("QuantizeLinear", [value, *parameters], name=f"{name}_QuantizeLinear")
    dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], *parameters], name=f"{name}_DequantizeLinear")
    codes, after = quantize.outputs[0], dequantize.outputs[0]
    codes.name, after.name = f"{name}_QuantizeLinear_Output", f"{name}_DequantizeLinear_Output"
    codes.shape, codes.type = value.shape, ir.TensorType(ir.DataType[grid.dtype.upper()])
    after.shape, after.type = value.shape, value.type
    for user, slot in users:
        user.replace_input_with(slot, after)
    if output:
        graph.outputs[graph.outputs.index(value)] = after
        value.name, after.name = f"{name}_QuantizeLinear_Input", name
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    return after


def _quantize_layer(node: ir.Node, weight: QuantizedWeight, grids: GridsByType, mode: Mode) -> None:
    """The weight's codes, and beside integer activations the bias in int32 at input scale x weight scale, as every
    runtime has it."""
    source, place = node.inputs[0], bias_place(node)
    bias = None if place is None else place[0].inputs[place[1]]
    assert source is not None
    if mode.activations != "float32" and place is not None and bias is not None and bias.const_value is not None:
        scale = np.float32(grids[mode.activations][str(source.name)].scale) * weight.step
        scale = np.tile(scale, step_repeats(node)) if scale.size > 1 else scale
        codes = np.rint(bias.const_value.numpy().astype(np.float64) / scale.astype(np.float64))
        # What does not fit was refused or zeroed by settle_channels, where the ranges are real.
        _dequantize(*place, np.clip(codes, -INT32_MAX, INT32_MAX).astype(np.int32), scale, np.int32(0))
    _dequantize(node, 1, weight.codes, weight.step, np.int8(0), axis=output_axis(node))


def _store_half(node: ir.Node) -> None:
    """Weights in float16, which a Cast makes float32 of."""
    graph, stored = node.graph, node.inputs[1]
    assert graph is not None and stored is not None and stored.const_value is not None
    values = stored.const_value.numpy()
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise ExportError("the weight has values that float16 cannot hold", where=f"layer {layer_name(node)}",
                          got=float(np.abs(values).max()), wanted="at most 65504", remedy="choose float32")  # fmt: skip
    name = str(stored.name)
    constant = _initializer(graph, f"{name}_half", half)
    cast = ir.node("Cast", [constant], {"to": ir.DataType.FLOAT}, name=f"{name}_to_float")
    cast.outputs[0].name, cast.outputs[0].shape, cast.outputs[0].type = f"{name}_float", stored.shape, stored.type
    graph.insert_before(node, cast)
    node.replace_input_with(1, cast.outputs[0])


def _quantize_operands(node: ir.Node, mode: Mode, plan: Plan) -> None:
    """Constant operands of an elementwise operation, each on the grid over its own range."""
    if mode.activations == "float32":
        return
    for slot, value in enumerate(node.inputs):
        if value is not None and value.const_value is not None:
            codes, grid = quantize_constant(
                value.const_value.numpy(),
                f"constant {value.name}",
                mode.activations,
                power_of_two=plan.grid.power_of_two,
            )
            _dequantize(node, slot, codes, grid.scale, codes.dtype.type(grid.zero_point[0]))


def _dequantize(
    node: ir.Node, slot: int, codes: NDArray[Any], scale: NDArray[np.float32], zero_point: np.generic, *, axis: int = 0
) -> None:
    """Let a node read integers through a DequantizeLinear where it read a float constant."""
    graph, stored = node.graph, node.inputs[slot]
    assert graph is not None and stored is not None
    name, per_channel = str(stored.name), scale.size > 1
    integers = _initializer(graph, f"{name}{CODES_SUFFIX}", codes)
    zero = np.full(scale.shape, zero_point)
    parameters = _parameters(graph, name, *((scale, zero) if per_channel else (scale[0], zero[0])))
    dequantize = ir.node("DequantizeLinear", [integers, *parameters], {"axis": axis} if per_channel else {})
    result = dequantize.outputs[0]
    result.name = dequantize.name = f"{integers.name}_DequantizeLinear_{node.name}"
    result.shape, result.type = ir.Shape(codes.shape), stored.type
    graph.insert_before(node, dequantize)
    node.replace_input_with(slot, result)


def _parameters(graph: ir.Graph, name: str, scale: Any, zero_point: Any) -> list[ir.Value]:
    return [_initializer(graph, f"{name}_scale", scale), _initializer(graph, f"{name}_zero_point", zero_point)]


def _initializer(graph: ir.Graph, name: str, data: Any) -> ir.Value:
    """A constant of this name; the one that is there if it is the same."""
    array, unique, number = np.asarray(data), name, 1
    while (known := graph.initializers.get(unique)) is not None:
        there = None if known.const_value is None else known.const_value.numpy()
        if there is not None and there.dtype == array.dtype and np.array_equal(there, array):
            return known
        unique, number = f"{name}_{number}", number + 1
    tensor = ir.tensor(array, name=unique)
    value = ir.Value(name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _is_fused(value: ir.Value) -> bool:
    """Whether a value is read by one node alone, which TFLite has within the operation that makes it or after: Relu,
    Clip, the bias of a MatMul, the reciprocal of a root."""
    producer, uses = value.producer(), list(value.uses())
    if producer is None or len(uses) != 1 or value.is_graph_output():
        return False
    user, slot = uses[0]
    if producer.op_type == "MatMul" and (place := bias_place(producer)) is not None:
        return place[0] is user
    if producer.op_type == "Sqrt":
        return user.op_type == "Reciprocal"
    return producer.op_type in FUSED_BEFORE and slot == 0 and bounds_of(user) is not None
