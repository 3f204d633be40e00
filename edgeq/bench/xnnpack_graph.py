"""A TFLite graph as the graph file of the XNNPACK runner: which operation becomes what. Nothing here runs.

What XNNPACK of 2022 has is given to it; what it has not, the runner computes itself as TFLite would. Shapes are checked
by the runner, which takes no file on trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.bench.xnnpack_format import MAX_DIMS, Kind, Node, Value, ValueType, pack_graph
from edgeq.bench.xnnpack_tables import Codes, Grid
from edgeq.errors import ExportError
from edgeq.tflite.model import Graph, Operator, Tensor

__all__ = ["GraphEncoder", "Rule", "encode_graph"]

TYPES = {"float32": ValueType.FLOAT32, "int8": ValueType.INT8, "uint8": ValueType.UINT8}


def encode_graph(graph: Graph) -> bytes:
    """The graph file of a TFLite graph.

    Args:
        graph: with fixed shapes; float32, or int8 (and uint8 at its ends).

    Raises:
        ExportError: an operation that neither XNNPACK of 2022 nor the runner has; names it and its output.
    """
    from edgeq.bench.xnnpack_rules import RULES

    return GraphEncoder(graph).encode(RULES)


class GraphEncoder:
    """One graph on its way; the rules add values and nodes to it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: list[Value] = []
        self.nodes: list[Node] = []
        self._index: dict[int, int] = {}  # TFLite tensor -> value

    def encode(self, rules: Mapping[str, Rule]) -> bytes:
        for index in self.graph.inputs:
            self.value(index)
        for operator in self.graph.operators:
            if not operator.outputs or not operator.inputs or operator.kind not in rules:
                raise self.error(operator, "is not one that the XNNPACK runner has")
            rules[operator.kind](self, operator)
        inputs = [self.value(index) for index in self.graph.inputs]
        outputs = [self.value(index) for index in self.graph.outputs]
        return pack_graph(self.values, self.nodes, inputs, outputs)

    def error(self, operator: Operator, what: str, *, got: object = None, wanted: object = None) -> ExportError:
        """The error about an operation; its output's name tells which."""
        name = self.graph.tensors[operator.outputs[0]].name if operator.outputs else "(none)"
        remedy = "run it in tflite-runtime, or replace it in the network"
        return ExportError(
            f"the operation {operator.kind} {what}", where=f"tensor {name}", got=got, wanted=wanted, remedy=remedy
        )

    # --- what the rules read --------------------------------------------------------------------------------------

    def tensor(self, operator: Operator, slot: int) -> Tensor:
        """The tensor of an input; an error where it is left out."""
        found = self.optional(operator, slot)
        if found is None:
            raise self.error(operator, f"has no input {slot}")
        return found

    def optional(self, operator: Operator, slot: int) -> Tensor | None:
        given = slot < len(operator.inputs) and operator.inputs[slot] >= 0
        return self.graph.tensors[operator.inputs[slot]] if given else None

    def output(self, operator: Operator) -> Tensor:
        return self.graph.tensors[operator.outputs[0]]

    def constant(self, operator: Operator, slot: int) -> NDArray[Any]:
        """The data of an input that must be constant."""
        tensor = self.tensor(operator, slot)
        if tensor.data is None:
            raise self.error(operator, f"has an input {tensor.name} that is not constant")
        return tensor.data

    def integers(self, operator: Operator, slot: int, count: int | None = None) -> list[int]:
        """A constant input as plain integers, with one an axis where a count is given."""
        found = [int(item) for item in self.constant(operator, slot).ravel()]
        if count is not None and len(found) != count:
            raise self.error(operator, f"has a bad input {slot}", got=found, wanted=f"{count} integers")
        return found

    def option(self, operator: Operator, name: str) -> Any:
        """A field of the operation's options.

        Raises:
            ExportError: the file has none for it.
        """
        if not hasattr(operator.options, name):
            raise self.error(operator, f"has no {name}")
        return getattr(operator.options, name)

    def grid(self, operator: Operator, tensor: Tensor) -> Grid:
        """The grid of an 8-bit tensor.

        Raises:
            ExportError: it has none, or one a channel.
        """
        quantization = tensor.quantization
        if quantization is None or quantization.is_per_channel:
            raise self.error(operator, f"has a tensor {tensor.name} without one grid")
        return Grid(float(quantization.scale[0]), int(quantization.zero_point[0]))

    # --- what they add --------------------------------------------------------------------------------------------

    def value(self, index: int, operator: Operator | None = None) -> int:
        """The value of a tensor; made at its first use."""
        if index not in self._index:
            self._index[index] = self.add_value(self._plain_value(self.graph.tensors[index], operator))
        return self._index[index]

    def add_value(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def inputs(self, operator: Operator, count: int | None = None) -> tuple[int, ...]:
        """The values of the first inputs."""
        indices = operator.inputs[:count]
        if any(index < 0 for index in indices) or (count is not None and len(indices) < count):
            raise self.error(operator, "lacks an input")
        return tuple(self.value(index, operator) for index in indices)

    def emit(
        self,
        operator: Operator,
        kind: Kind,
        inputs: tuple[int, ...],
        params: tuple[int, ...] = (),
        limits: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        """Add a node that computes the operation's output."""
        self.add_node(kind, inputs, self.value(operator.outputs[0], operator), params, limits)

    def add_node(
        self,
        kind: Kind,
        inputs: tuple[int, ...],
        output: int,
        params: tuple[int, ...] = (),
        limits: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        self.nodes.append(Node(kind, inputs, output, params, *limits))

    def emit_table(self, operator: Operator, blocks: Codes, rest: Codes | None = None) -> None:
        """Add a function of one 8-bit code, given as what each code of the input becomes.

        Args:
            operator: from one 8-bit tensor to another.
            blocks: int64 [256], in order of the input's codes; clipped to the output's type here.
            rest: the same for the elements after the last whole block of 16, where they differ.
        """
        before, after = self.tensor(operator, 0), self.output(operator)
        parts = []
        for table in (blocks, blocks if rest is None else rest):
            limits = np.iinfo(after.dtype)
            codes = np.clip(table, limits.min, limits.max).astype(after.dtype).view(np.uint8)
            parts.append(np.roll(codes, 128) if before.dtype == "int8" else codes)  # by the input's bits
        content = np.concatenate(parts)
        flipped = np.arange(256, dtype=np.uint8) ^ np.uint8(128)
        if np.array_equal(content, np.tile(flipped, 2)):
            self.emit(operator, Kind.FLIP_SIGN, self.inputs(operator, 1))
            return
        table_value = self.add_value(Value(ValueType.RAW, (512,), data=content.tobytes()))
        self.emit(operator, Kind.TABLE, (*self.inputs(operator, 1), table_value))

    def weight(self, operator: Operator, tensor: Tensor, shape: tuple[int, ...], axis: int) -> int:
        """The value of a filter in the shape that XNNPACK wants; its scales go along ``axis`` of that shape.

        One scale for all is repeated: on ARM, XNNPACK of 2022 rounds ties up where there is one scale a tensor, but to
        even, as LiteRT does now on x86 and ARM alike, where there is one a channel.
        """
        data = None if tensor.data is None else np.ascontiguousarray(tensor.data).tobytes()
        if data is None:
            raise self.error(operator, f"has a weight {tensor.name} that is not constant")
        grid = tensor.quantization
        if tensor.dtype == "float32":
            return self.add_value(Value(ValueType.FLOAT32, shape, data=data))
        if tensor.dtype != "int8" or grid is None or grid.zero_point.any():
            raise self.error(operator, f"has a weight {tensor.name} that is not symmetric int8", got=tensor.dtype)
        if grid.is_per_channel and (grid.axis, grid.scale.size) != (axis, shape[axis]):
            raise self.error(operator, f"has a weight {tensor.name} with scales along the wrong axis", got=grid.axis)
        scales = np.broadcast_to(grid.scale, (shape[axis],))
        return self.add_value(Value(ValueType.CHANNEL_INT8, shape, scales=scales, axis=axis, data=data))

    def bias(self, operator: Operator, source: Tensor, weight: int) -> tuple[int, ...]:
        """The value of the third input, if there is one: int32 at input scale x weight scale, or float32."""
        tensor, filters = self.optional(operator, 2), self.values[weight]
        if tensor is None:
            return ()
        if tensor.data is None:
            raise self.error(operator, f"has a bias {tensor.name} that is not constant")
        data, shape = np.ascontiguousarray(tensor.data).tobytes(), (tensor.data.size,)
        if filters.type is ValueType.FLOAT32:
            if tensor.dtype != "float32":
                raise self.error(operator, f"has a bias {tensor.name} of another type", got=tensor.dtype)
            return (self.add_value(Value(ValueType.FLOAT32, shape, data=data)),)
        if tensor.dtype != "int32":
            raise self.error(operator, f"has a bias {tensor.name} that is not int32", got=tensor.dtype)
        assert filters.scales is not None, "an int8 weight has them"
        scales = np.float32(self.grid(operator, source).scale) * filters.scales
        return (self.add_value(Value(ValueType.CHANNEL_INT32, shape, scales=scales, data=data)),)

    def _plain_value(self, tensor: Tensor, operator: Operator | None) -> Value:
        """An activation, or a constant that is used like one."""
        kind = "an end of the network" if operator is None else f"the operation {operator.kind}"
        where = f"tensor {tensor.name}"
        if tensor.dtype not in TYPES:
            wanted = ", ".join(TYPES)
            raise ExportError(f"{kind} has a type that the XNNPACK runner has not", where=where, got=tensor.dtype,
                              wanted=wanted)  # fmt: skip
        if len(tensor.shape) > MAX_DIMS:
            raise ExportError(f"{kind} has too many dimensions", where=where, got=len(tensor.shape), wanted=MAX_DIMS)
        data = None if tensor.data is None else np.ascontiguousarray(tensor.data).tobytes()
        if tensor.dtype == "float32":
            return Value(ValueType.FLOAT32, tensor.shape, data=data)
        grid = tensor.quantization
        if grid is None or grid.is_per_channel:
            raise ExportError(f"{kind} has an 8-bit tensor without one grid", where=where)
        limits = np.iinfo(tensor.dtype)
        zero_point = int(grid.zero_point[0])
        if not limits.min <= zero_point <= limits.max:
            raise ExportError(f"{kind} has a bad zero point", where=where, got=zero_point)
        return Value(TYPES[tensor.dtype], tensor.shape, float(grid.scale[0]), zero_point, data=data)


Rule = Callable[[GraphEncoder, Operator], None]
