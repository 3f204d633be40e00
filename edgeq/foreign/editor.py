"""Edits that every step needs: new constants, new pairs of Q and DQ, names that nothing else has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.model import Quantization
from edgeq.tflite.qdq_values import grid_of, node_name

__all__ = ["DEQUANTIZE", "QUANTIZE", "Editor", "dequantizer", "float_readers", "quantizers", "same_grid", "zero_type"]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class Editor:
    """A graph that is changed in place.

    Attributes:
        graph: the graph.
        notes: what the user should know, a line each.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.notes: list[str] = []
        values = [*self.graph.inputs, *self.graph.initializers.values()]
        values += [value for node in self.graph for value in node.outputs]
        self._names = {str(value.name) for value in values} | {str(node.name) for node in self.graph}

    def unique(self, name: str) -> str:
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def constant(self, name: str, data: NDArray[Any] | np.generic) -> ir.Value:
        """A new initializer."""
        tensor = ir.tensor(np.ascontiguousarray(data).reshape(np.shape(data)), name=self.unique(name))
        kind = ir.TensorType(tensor.dtype)
        value = ir.Value(name=tensor.name, shape=ir.Shape(np.shape(data)), type=kind, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def release(self, name: str) -> None:
        """Give an initializer that is about to be replaced another name, so that its successor has its own."""
        old = self.graph.initializers.get(name)
        if old is not None:
            old.name = self.unique(f"{name}_replaced")
            self._names.discard(name)

    def node(
        self,
        kind: str,
        inputs: Iterable[ir.Value | None],
        result: str,
        like: ir.Value,
        dtype: ir.DataType | None = None,
        attributes: Any = None,
    ) -> ir.Node:
        """A node with one output, not yet in the graph; the output has the shape of ``like``."""
        node = ir.node(kind, list(inputs), attributes or {}, name=self.unique(f"{result}_node"))
        node.outputs[0].name = self.unique(result)
        node.outputs[0].shape = like.shape
        node.outputs[0].type = ir.TensorType(dtype or ir.DataType.FLOAT)
        return node

    def dequantized(
        self, name: str, codes: NDArray[Any], scale: Any, zero_point: Any, like: ir.Value, axis: int | None = None
    ) -> ir.Node:
        """A DequantizeLinear of new initializers, NAME_quantized and so on, not yet in the graph.

        Args:
            name: of the constant.
            codes: its integers.
            scale, zero_point: one each, or one each along the axis.
            like: a value of its shape.
            axis: of a scale a channel.
        """
        inputs = [
            self.constant(f"{name}_quantized", codes),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero_point", zero_point),
        ]
        return self.node(DEQUANTIZE, inputs, f"{name}_real", like, None, None if axis is None else {"axis": axis})

    def pair(
        self,
        value: ir.Value,
        scale: ir.Value,
        zero_point: ir.Value,
        users: Collection[tuple[ir.Node, int]] | None = None,
    ) -> ir.Value:
        """Put Q and DQ after a value, and let its users (all, when left out) read what they give."""
        assert zero_point.const_value is not None
        reading = list(value.uses() if users is None else users)
        dtype = zero_point.const_value.dtype
        quantize = self.node(QUANTIZE, [value, scale, zero_point], f"{value.name}_codes", value, dtype)
        dequantize = self.node(DEQUANTIZE, [quantize.outputs[0], scale, zero_point], f"{value.name}_on_grid", value)
        for user, slot in reading:
            user.replace_input_with(slot, dequantize.outputs[0])
        self.insert_after(value, [quantize, dequantize])
        return dequantize.outputs[0]

    def insert_after(self, value: ir.Value, nodes: list[ir.Node]) -> None:
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, nodes)
        elif len(self.graph):
            self.graph.insert_before(self.graph[0], nodes)
        else:
            self.graph.extend(nodes)

    def parameters(self, node: ir.Node) -> tuple[ir.Value, ir.Value]:
        """The scale and zero point of a Q or DQ, both given."""
        scale, zero_point = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
        if scale is None or zero_point is None:
            raise ExportError("has no scale", where=node_name(node))
        return scale, zero_point

    def drop_unused(self) -> None:
        """Remove nodes whose results nothing reads, and the constants that were theirs."""
        for node in reversed(self.graph):
            if not any(value.uses() or value.is_graph_output() for value in node.outputs):
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[name]


def quantizers(value: ir.Value) -> list[ir.Node]:
    """The QuantizeLinear nodes that read a value."""
    return [user for user, slot in value.uses() if user.op_type == QUANTIZE and slot == 0]


def float_readers(value: ir.Value) -> list[tuple[ir.Node, int]]:
    """Everything else that reads it."""
    return [(user, slot) for user, slot in value.uses() if user.op_type != QUANTIZE or slot != 0]


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that gives a value."""
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == DEQUANTIZE else None


def same_grid(first: ir.Node, second: ir.Node) -> bool:
    """Whether two Q or DQ have one scale and zero point, to the bit."""
    one: Quantization = grid_of(first)
    return one.same_grid(grid_of(second)) and zero_type(first) == zero_type(second)


def zero_type(node: ir.Node) -> ir.DataType:
    zero_point = node.inputs[2]
    assert zero_point is not None and zero_point.const_value is not None
    return zero_point.const_value.dtype
