"""A QDQ model in which each layer can be computed in float or quantized, as a flag says: one session tries all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.export.bias import biased_layers
from edgeq.export.layer_parts import LAYERS
from edgeq.tflite.ops import OPERATIONS

__all__ = ["SwitchedLayer", "switched_model"]

QUANTIZED = "_quantized"


@dataclass(frozen=True, slots=True)
class SwitchedLayer:
    """What one flag quantizes: an operation's weights and what it gives on.

    Attributes:
        name: the layer's, as a recipe names it; else the operation's.
        operation: its ONNX kind; ``Input`` for the network's input.
        flag: the name of the model's input, a bool.
    """

    name: str
    operation: str
    flag: str


def switched_model(qdq: ir.Model, reference: ir.Model) -> tuple[ir.Model, list[SwitchedLayer]]:
    """Give each layer of a QDQ model a flag.

    Args:
        qdq: not changed.
        reference: the float model that it was made from, batch norms folded: the weights and biases as they were.

    Returns:
        A model with the flags as inputs behind its own, and the layers in order. With all flags set it computes what
        ``qdq`` computes, with none what ``reference`` computes, but for constants of elementwise operations.
    """
    model = qdq.clone()
    floats = _floats(model, reference)
    rows: dict[str, SwitchedLayer] = {}
    row_of: dict[str, str] = {}
    work: list[tuple[ir.Node, ir.Value, str]] = []
    for node in list(model.graph):
        if node.op_type != "DequantizeLinear":
            continue
        source = node.inputs[0]
        assert source is not None
        quantize = source.producer()
        if quantize is None:
            user = next((user for user, _ in node.outputs[0].uses()), None)
            exact = floats.get(str(source.name))
            if user is not None and exact is not None:
                work.append((node, exact, _row(_root(user), row_of, rows)))
        elif (value := quantize.inputs[0]) is not None:
            producer = value.producer()
            row = _input_row(value, rows) if producer is None else _row(_root(producer), row_of, rows)
            row_of[str(node.outputs[0].name)] = row
            work.append((node, value, row))
    flags = {name: _flag(model.graph, row) for name, row in rows.items()}
    for node, exact, row in work:
        _choose(model.graph, node, exact, flags[row])
    return model, list(rows.values())


def _floats(model: ir.Model, reference: ir.Model) -> dict[str, ir.Value]:
    """By the name of integer codes, the float weight or bias in their place, put into the model."""
    wanted: dict[str, NDArray[np.float32]] = {}
    for name in model.graph.initializers:
        known = reference.graph.initializers.get(name.removesuffix(QUANTIZED))
        if name.endswith(QUANTIZED) and known is not None and known.const_value is not None:
            wanted[name] = known.const_value.numpy()
    by_result = {str(node.outputs[0].name): node for node in reference.graph}
    for layer in biased_layers(model):
        node = by_result.get(layer.name)
        place = None if node is None else _bias(node)
        if place is not None and place.const_value is not None:
            wanted[str(layer.codes.name)] = place.const_value.numpy()
    floats = {}
    for name, array in wanted.items():
        tensor = ir.tensor(np.asarray(array, np.float32), name=f"{name}/float")
        floats[name] = ir.Value(
            name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor
        )
        model.graph.register_initializer(floats[name])
    return floats


def _bias(node: ir.Node) -> ir.Value | None:
    """The constant that a layer, or the Add after it, adds."""
    if node.op_type == "Add":
        return next((value for value in node.inputs if value is not None and value.const_value is not None), None)
    return node.inputs[2] if len(node.inputs) > 2 else None


def _root(node: ir.Node) -> ir.Node:
    """The operation that reads quantized values, of those that are computed as one."""
    while True:
        producers = [value.producer() for value in node.inputs if value is not None]
        before = next((item for item in producers if item is not None and item.op_type != "DequantizeLinear"), None)
        if before is None:
            return node
        node = before


def _row(node: ir.Node, row_of: dict[str, str], rows: dict[str, SwitchedLayer]) -> str:
    """The layer that an operation belongs to: one that moves codes only, to that before it."""
    known = OPERATIONS.get(node.op_type)
    source = node.inputs[0]
    read = [value for value in node.inputs if value is not None and value.const_value is None]
    if known is not None and known.grid == "same" and len(read) == 1 and source is not None:
        before = row_of.get(str(source.name))
        if before is not None:
            return before
    name = str(node.name or node.outputs[0].name)
    if node.op_type in LAYERS and len(node.inputs) > 1 and node.inputs[1] is not None:
        dequantize = node.inputs[1].producer()
        codes = None if dequantize is None else dequantize.inputs[0]
        if codes is not None and codes.const_value is not None:
            name = str(codes.name).removesuffix(QUANTIZED).removesuffix(".weight")
    rows.setdefault(name, SwitchedLayer(name, node.op_type, f"edgeq/quantize/{len(rows)}"))
    return name


def _input_row(value: ir.Value, rows: dict[str, SwitchedLayer]) -> str:
    name = str(value.name)
    rows.setdefault(name, SwitchedLayer(name, "Input", f"edgeq/quantize/{len(rows)}"))
    return name


def _flag(graph: ir.Graph, row: SwitchedLayer) -> ir.Value:
    value = ir.Value(name=row.flag, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    graph.inputs.append(value)
    return value


def _choose(graph: ir.Graph, dequantize: ir.Node, exact: ir.Value, flag: ir.Value) -> None:
    """Let what reads a dequantized value read the float one where the flag is not set."""
    rounded = dequantize.outputs[0]
    name, users, ends = str(rounded.name), list(rounded.uses()), rounded.is_graph_output()
    where = ir.node("Where", [flag, rounded, exact], name=f"{name}/choose")
    chosen = where.outputs[0]
    chosen.name, chosen.shape, chosen.type = f"{name}/chosen", rounded.shape, ir.TensorType(ir.DataType.FLOAT)
    graph.insert_after(dequantize, where)
    for user, slot in users:
        user.replace_input_with(slot, chosen)
    if ends:
        graph.outputs[graph.outputs.index(rounded)] = chosen
        rounded.name, chosen.name = f"{name}/rounded", name
