"""Lower a QDQ ONNX graph to a TFLite graph: the walk, the layout and the grids. What each operation becomes is in
``ops``.

Four-dimensional activations are NCHW in ONNX and NHWC in TFLite; every other tensor keeps its order. A flatten of
more than one pixel changes the order of the flattened values, so the weights that follow are permuted instead of the
values; where that cannot be (no fully-connected layer follows), a TRANSPOSE keeps the meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.model import Graph, Operator, Quantization, Tensor

__all__ = ["Lowering", "Rule", "Weight", "node_name"]

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
OUTPUT_SUFFIX = "_QuantizeLinear_Input"  # what onnxruntime's quantizer appends to a result of the graph
ORDER_KEEPERS = {"Relu", "Clip", "LeakyRelu", "Tanh", "Sigmoid", "HardSwish", "Identity", "Dropout"}

Rule = Callable[["Lowering", ir.Node], None]


@dataclass(frozen=True, slots=True)
class Weight:
    """A quantized constant of the ONNX graph.

    Attributes:
        name: the name it gets in TFLite: the initializer's, without what the quantizer appended.
        codes: int8 or int32, ONNX layout.
        scale: float32 [1] or [C].
        axis: the dimension of a per-channel scale.
    """

    name: str
    codes: NDArray[Any]
    scale: NDArray[np.float32]
    axis: int


def node_name(node: ir.Node) -> str:
    """A node as messages name it: its name and its operation."""
    return f"node {node.name or node.outputs[0].name} ({node.op_type})"


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
        source = self.source(value, node)
        if str(source.name) not in self.index:
            raise ExportError(f"the input {source.name} is not quantized", where=node_name(node))
        return self.index[str(source.name)]

    def source(self, value: ir.Value | None, node: ir.Node) -> ir.Value:
        """The float value behind a node's input: what came before the pair of Q and DQ."""
        if value is None:
            raise ExportError("an input is missing", where=node_name(node))
        dequantize = value.producer()
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            return value
        quantize = dequantize.inputs[0].producer() if dequantize.inputs[0] is not None else None
        if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.inputs[0] is None:
            return value
        return quantize.inputs[0]

    def is_constant(self, value: ir.Value | None) -> bool:
        if value is None:
            return False
        dequantize = value.producer()
        if dequantize is not None and dequantize.op_type == "DequantizeLinear":
            return dequantize.inputs[0] is not None and dequantize.inputs[0].const_value is not None
        return value.const_value is not None

    def constant(self, value: ir.Value | None, node: ir.Node) -> NDArray[Any]:
        """The numbers of a constant input, such as a shape or axes.

        Raises:
            ExportError: it is computed, not constant.
        """
        if value is None or value.const_value is None:
            raise ExportError("needs a constant input", where=node_name(node), got=getattr(value, "name", None))
        return np.asarray(value.const_value.numpy())

    def weight(self, value: ir.Value | None, node: ir.Node) -> Weight:
        """A quantized constant input: its integers and scales as they stand in the file.

        Raises:
            ExportError: the input is not a DequantizeLinear of constant int8 or int32 with zero point 0.
        """
        dequantize = value.producer() if value is not None else None
        if value is None or dequantize is None or dequantize.op_type != "DequantizeLinear":
            name = getattr(value, "name", None)
            raise ExportError("a weight is not quantized", where=node_name(node), got=name, wanted="DequantizeLinear")
        stored, scale, zero_point = (*dequantize.inputs, None)[:3]
        codes = self.constant(stored, node)
        if codes.dtype not in (np.int8, np.int32):
            raise ExportError("a weight has an unknown type", where=node_name(node), got=codes.dtype, wanted="int8")
        if zero_point is not None and np.any(self.constant(zero_point, node) != 0):
            raise ExportError(
                "a weight has a zero point that is not 0",
                where=node_name(node),
                remedy="quantize weights symmetrically, as TFLite's int8 kernels need",
            )
        scales = np.atleast_1d(self.constant(scale, node)).astype(np.float32)
        check_scale(scales, str(stored.name) if stored is not None else "", node)
        axis = dequantize.attributes.get_int("axis", 1) if scales.size > 1 else 0
        name = str(stored.name).removesuffix("_quantized") if stored is not None else ""
        return Weight(name, codes, scales, axis % max(codes.ndim, 1))

    def grid_after(self, value: ir.Value) -> Quantization | None:
        """The int8 grid of the QuantizeLinear that reads a value; a uint8 grid is shifted to int8 exactly.

        Raises:
            ExportError: it is per channel, or of a type that has no int8 form.
        """
        for user, slot in value.uses():
            if user.op_type == "QuantizeLinear" and slot == 0:
                return self._grid(user)
        return None

    def _grid(self, quantize: ir.Node) -> Quantization:
        scale = np.atleast_1d(self.constant(quantize.inputs[1], quantize)).astype(np.float32)
        zero_input = quantize.inputs[2] if len(quantize.inputs) > 2 else None
        zero = np.zeros(1, np.uint8) if zero_input is None else np.atleast_1d(self.constant(zero_input, quantize))
        if scale.size != 1:
            raise ExportError("an activation has a scale a channel", where=node_name(quantize), wanted="one scale")
        if zero.dtype not in (np.int8, np.uint8):
            raise ExportError(
                "an activation has no int8 form", where=node_name(quantize), got=zero.dtype, wanted="int8 or uint8"
            )
        check_scale(scale, str(quantize.inputs[0].name if quantize.inputs[0] else ""), quantize)
        shift = 128 if zero.dtype == np.uint8 else 0
        return Quantization.per_tensor(scale[0], int(zero[0]) - shift)

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
            while value is not None and (producer := value.producer()) is not None:
                value = producer.inputs[0]  # a quantized bound: Q and DQ of a constant
            bounds.append(open_end if value is None else float(self.constant(value, node)))
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
            elif not (user.op_type in ("Gemm", "MatMul") and slot == 0 and self.is_constant(user.inputs[1])):
                return False
        return not value.is_graph_output()

    def keep_order(self, source: int, result: int) -> None:
        """An elementwise operation's result has its columns where its input has them."""
        if source in self.column_order:
            self.column_order[result] = self.column_order[source]

    def transpose(self, tensor: int, permutation: Sequence[int], name: str) -> int:
        """Add a TRANSPOSE and return its result."""
        source = self.tensors[tensor]
        shape = tuple(source.shape[i] for i in permutation)
        result = self.add_tensor(Tensor(name, shape, source.dtype, source.quantization))
        order = self.add_constant(f"{name}/permutation", np.array(permutation, np.int32))
        self.add_operator("TRANSPOSE", [tensor, order], [result], schema.TransposeOptionsT(), version=2)
        return result


def check_scale(scale: NDArray[np.float32], name: str, node: ir.Node) -> None:
    """Refuse scales that no runtime can work with."""
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise ExportError(f"the scale of {name} is not positive and finite", where=node_name(node), got=bad[0])


def unsupported(node: ir.Node, rules: dict[str, Rule]) -> ExportError:
    """The error for an operation that has no int8 form here."""
    operation = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return ExportError(
        f"the operation {operation} has no int8 form in TFLite that edgeq knows",
        where=node_name(node),
        wanted=f"one of {', '.join(sorted(rules))}",
        remedy="replace it in the network",
    )
