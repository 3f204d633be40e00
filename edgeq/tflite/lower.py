"""Lower a QDQ ONNX graph to a TFLite graph: the walk, the layout and the grids. What each operation becomes is in
``ops``.

Four-dimensional activations are NCHW in ONNX and NHWC in TFLite; every other tensor keeps its order. A flatten of
more than one pixel changes the order of the flattened values, so the weights that follow are permuted instead of the
values; where that cannot be (no fully-connected layer follows), a TRANSPOSE keeps the meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.model import Graph, Operator, Quantization, Tensor
from edgeq.tflite.qdq_values import float_source, grid_of, is_constant, node_name, read_real_constant

__all__ = ["Lowering", "Rule"]

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
OUTPUT_SUFFIX = "_QuantizeLinear_Input"  # what onnxruntime's quantizer appends to a result of the graph
ORDER_KEEPERS = {"Relu", "Clip", "LeakyRelu", "Tanh", "Sigmoid", "HardSwish", "Identity", "Dropout"}

Rule = Callable[["Lowering", ir.Node], None]


class Lowering:
    """One graph on its way from ONNX to TFLite."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        self.rules = rules
        self.tensors: list[Tensor] = []
        self.names: set[str] = set()
        self.operators: list[Operator] = []
        self.index: dict[str, int] = {}  # ONNX float value -> TFLite tensor
        self.column_order: dict[int, NDArray[np.intp]] = {}  # a flattened tensor -> where each ONNX column went
        self.fused: set[ir.Node] = set()
        self.notes: list[str] = []

    # --- the walk -----------------------------------------------------------------------------------------------

    def run(self, graph: ir.Graph) -> None:
        """Lower every node in order.

        Raises:
            ExportError: an operation without an int8 form, or a value without a grid; names the node.
        """
        for value in graph.inputs:
            self.define(value, self.grid_after(value))
        for node in graph:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") or node in self.fused:
                continue
            rule = self.rules.get(node.op_type) if node.domain in ("", "ai.onnx") else None
            if rule is None:
                raise unsupported(node, self.rules)
            rule(self, node)

    def graph(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        return Graph(tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))

    # --- values -------------------------------------------------------------------------------------------------

    def shape(self, value: ir.Value) -> tuple[int, ...]:
        """The value's shape in ONNX order; a symbolic batch counts as 1.

        Raises:
            ExportError: another dimension is not fixed.
        """
        if value.shape is None:
            raise ExportError("has no known shape", where=f"value {value.name}", remedy="export with fixed shapes")
        sizes = []
        for i, size in enumerate(value.shape):
            if not isinstance(size, int):
                if i:
                    raise ExportError(
                        "has a shape that is not fixed",
                        where=f"value {value.name}",
                        got=value.shape,
                        remedy="export with fixed shapes; only the batch may vary",
                    )
                size = 1
            sizes.append(size)
        return tuple(sizes)

    def tflite_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(shape[i] for i in TO_NHWC) if len(shape) == 4 else shape

    def define(self, value: ir.Value, grid: Quantization | None) -> int:
        """A new int8 tensor for a float value of the ONNX graph.

        Raises:
            ExportError: the value has no grid.
        """
        if grid is None:
            producer = value.producer()
            where = node_name(producer) if producer is not None else f"input {value.name}"
            raise ExportError(
                f"the value {value.name} has no int8 grid",
                where=where,
                wanted="QuantizeLinear after it",
                remedy="quantize the ONNX model first, with edgeq quantize or onnxruntime",
            )
        name = str(value.name).removesuffix(OUTPUT_SUFFIX)
        index = self.add_tensor(Tensor(name, self.tflite_shape(self.shape(value)), "int8", grid))
        self.index[str(value.name)] = index
        return index

    def activation(self, value: ir.Value | None, node: ir.Node) -> int:
        """The TFLite tensor behind a node's input.

        Raises:
            ExportError: the input is missing, a constant, or not quantized.
        """
        source = float_source(value, node)
        if str(source.name) not in self.index:
            raise ExportError(f"the input {source.name} is not quantized", where=node_name(node))
        return self.index[str(source.name)]

    def grid_after(self, value: ir.Value) -> Quantization | None:
        """The int8 grid of the QuantizeLinear that reads a value; a uint8 grid is shifted to int8 exactly.

        Raises:
            ExportError: it is per channel, of a type that has no int8 form, or one of several.
        """
        grids = [grid_of(user) for user, slot in value.uses() if user.op_type == "QuantizeLinear" and slot == 0]
        if any(not grid.same_grid(grids[0]) for grid in grids):
            producer = value.producer()
            where = f"input {value.name}" if producer is None else node_name(producer)
            raise ExportError(f"the value {value.name} is quantized to several grids", where=where, wanted="one")
        return grids[0] if grids else None

    # --- tensors and operations ---------------------------------------------------------------------------------

    def add_tensor(self, tensor: Tensor) -> int:
        name, number = tensor.name, 1
        while name in self.names:
            name, number = f"{tensor.name}_{number}", number + 1
        self.names.add(name)
        self.tensors.append(replace(tensor, name=name))
        return len(self.tensors) - 1

    def add_constant(self, name: str, data: NDArray[Any], grid: Quantization | None = None) -> int:
        return self.add_tensor(Tensor(name, data.shape, data.dtype.name, grid, data))

    def add_operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, version: int = 1
    ) -> None:
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs), options, version))

    def grid(self, tensor: int) -> Quantization:
        grid = self.tensors[tensor].quantization
        assert grid is not None, "every activation is defined with a grid"
        return grid

    def emit(
        self,
        node: ir.Node,
        kind: str,
        inputs: Sequence[int],
        options: Any = None,
        *,
        version: int = 1,
        forced: Quantization | None = None,
        fuse: bool = False,
    ) -> int:
        """Add the operation that computes a node's first output, with the activation that follows fused if asked.

        Args:
            node: the ONNX node.
            kind, inputs, options, version: the TFLite operation.
            forced: the grid that TFLite's kernel insists on; where ONNX says another, a QUANTIZE follows.
            fuse: whether ``options`` has a fused activation that a following Relu or Clip may be put in.

        Returns:
            The tensor of the node's output (of the activation's, when fused).
        """
        value = node.outputs[0]
        if fuse:
            value, activation = self._fusable(value)
            options.fusedActivationFunction = activation
        grid = self.grid_after(value)
        if grid is None or forced is None or forced.same_grid(grid):
            output = self.define(value, grid)
            self.add_operator(kind, inputs, [output], options, version)
        else:
            shape = self.tflite_shape(self.shape(value))
            between = self.add_tensor(Tensor(f"{value.name}/before_quantize", shape, "int8", forced))
            self.add_operator(kind, inputs, [between], options, version)
            output = self.define(value, grid)
            self.add_operator("QUANTIZE", [between], [output], schema.QuantizeOptionsT())
            self.notes.append(f"QUANTIZE added after {node_name(node)}: TFLite's {kind} needs its input's grid")
        return output

    def _fusable(self, value: ir.Value) -> tuple[ir.Value, int]:
        """Follow a single Relu or Clip(0, 6) reader of an unquantized value: the value after it and TFLite's code."""
        uses = value.uses()
        if len(uses) == 1 and not value.is_graph_output():
            (user, _slot) = next(iter(uses))
            if user.op_type == "Relu":
                self.fused.add(user)
                return user.outputs[0], schema.ActivationFunctionType.RELU
            if user.op_type == "Clip" and self.clip_bounds(user) == (0.0, 6.0):
                self.fused.add(user)
                return user.outputs[0], schema.ActivationFunctionType.RELU6
        return value, schema.ActivationFunctionType.NONE

    def clip_bounds(self, node: ir.Node) -> tuple[float, float]:
        """The limits of a Clip, infinite where left out."""
        bounds = []
        for slot, open_end in ((1, -math.inf), (2, math.inf)):
            value = node.inputs[slot] if len(node.inputs) > slot else None
            bounds.append(open_end if value is None else read_real_constant(value, node).item())
        return bounds[0], bounds[1]

    # --- layout -------------------------------------------------------------------------------------------------

    def flatten_order(self, shape: tuple[int, ...]) -> NDArray[np.intp] | None:
        """For NHWC values flattened: the ONNX (C, H, W) column of each TFLite column; None where nothing moves."""
        _, channels, height, width = shape
        if channels == 1 or height * width == 1:
            return None
        return np.arange(channels * height * width).reshape(channels, height, width).transpose(1, 2, 0).ravel()

    def only_feeds_dense(self, value: ir.Value) -> bool:
        """Whether all that reads a flattened value can take its columns in another order."""
        for user, slot in value.uses():
            if user.op_type in ("QuantizeLinear", "DequantizeLinear") or user.op_type in ORDER_KEEPERS:
                if not self.only_feeds_dense(user.outputs[0]):
                    return False
            elif not (user.op_type in ("Gemm", "MatMul") and slot == 0 and is_constant(user.inputs[1])):
                return False
        return not value.is_graph_output()

    def keep_order(self, source: int, result: int) -> None:
        """An elementwise operation's result has its columns where its input has them."""
        if source in self.column_order:
            self.column_order[result] = self.column_order[source]

    def transpose(self, tensor: int, permutation: Sequence[int], name: str) -> int:
        """Add a TRANSPOSE and return its result."""
        before = self.tensors[tensor]
        shape = tuple(before.shape[i] for i in permutation)
        result = self.add_tensor(Tensor(name, shape, before.dtype, before.quantization))
        order = self.add_constant(f"{name}/permutation", np.array(permutation, np.int32))
        self.add_operator("TRANSPOSE", [tensor, order], [result], schema.TransposeOptionsT(), version=2)
        return result


def unsupported(node: ir.Node, rules: dict[str, Rule]) -> ExportError:
    """The error for an operation that has no int8 form here."""
    operation = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return ExportError(
        f"the operation {operation} has no int8 form in TFLite that edgeq knows",
        where=node_name(node),
        wanted=f"one of {', '.join(sorted(rules))}",
        remedy="replace it in the network",
    )
