"""Lower a QDQ ONNX graph to a TFLite graph: the walk, the values and their grids. What each operation becomes is in
``ops``.

Each ONNX value is held by a tensor in a layout (``edgeq.tflite.layout``). Four-dimensional activations are made as
NHWC, all others in ONNX's order; a reshape or transpose only changes the layout. An operation asks for its inputs in
the order that its kernel wants, and a TRANSPOSE is added where the memory has another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.builder import GraphBuilder
from edgeq.tflite.clamp import NO_BOUNDS, Bounds, following_clamp, result_of
from edgeq.tflite.gelu import GeluChain, find_gelus
from edgeq.tflite.layout import Layout, Order
from edgeq.tflite.model import FLOAT, Graph, Quantization, Tensor
from edgeq.tflite.qdq_values import float_source, grid_of, has_float_weights, is_constant, node_name
from edgeq.tflite.refusals import no_form, unsupported
from edgeq.tflite.versions import MISSING

__all__ = ["OUTPUT_SUFFIX", "Lowering", "Rule", "View", "tensor_name"]

OUTPUT_SUFFIX = "_QuantizeLinear_Input"  # what onnxruntime's quantizer appends to a result of the graph

Rule = Callable[["Lowering", ir.Node], None]


@dataclass(frozen=True, slots=True)
class View:
    """A value of the ONNX graph: the tensor that holds it, and how."""

    tensor: int
    layout: Layout


class Lowering(GraphBuilder):
    """One graph on its way from ONNX to TFLite."""

    def __init__(self, rules: dict[str, Rule], *, floats: bool = False) -> None:
        """``floats`` says whether a value without a grid is computed in float32 rather than refused."""
        super().__init__()
        self.rules = rules
        self.floats = floats
        self.dtype = "int8"  # what the node at hand computes in: int8, int16 or float32
        self.views: dict[str, View] = {}  # by the name of the ONNX float value
        self.layouts: dict[str, Layout] = {}  # by the name of the TFLite tensor
        self.fused: set[ir.Node] = set()
        self.gelus: dict[ir.Node, GeluChain] = {}  # by the last node of each

    # --- the walk -----------------------------------------------------------------------------------------------

    def run(self, graph: ir.Graph) -> None:
        """Lower every node in order.

        Raises:
            ExportError: an operation without an int8 form, or a value without a grid; names the node.
        """
        self.reserved = {tensor_name(value) for node in graph for value in node.outputs}
        self.reserved |= {tensor_name(value) for value in graph.inputs}
        for value in graph.inputs:
            self.define(value, self.grid_after(value))
        for chain in find_gelus(graph):
            self.gelus[chain.last] = chain
            self.fused |= chain.inner
        for node in graph:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") or node in self.fused:
                continue
            if node.op_type == "Cast" and is_constant(node.outputs[0]):
                continue
            kind = "Gelu" if node in self.gelus else node.op_type
            rule = self.rules.get(kind) if node.domain in ("", "ai.onnx") else None
            if rule is None:
                raise unsupported(node, self.rules)
            self.dtype = self._computes_in(node)
            rule(self, node)

    def _computes_in(self, node: ir.Node) -> str:
        """What a node computes in: that of its result's grid; float32 where anything that it reads or writes is."""
        result = self.grid_after(result_of(node))
        chain = self.gelus.get(node)
        given = node.inputs if chain is None else [chain.source]
        sources = [self.views.get(str(float_source(value, node).name)) for value in given if value is not None]
        read = [self.tensors[view.tensor].dtype for view in sources if view is not None]
        if self.floats and (((result or FLOAT) is FLOAT and _is_real(node.outputs[0])) or "float32" in read
                            or has_float_weights(node)):  # fmt: skip
            return "float32"
        real = [dtype for dtype in read if dtype in ("int8", "int16")]
        if node.op_type != "Identity" and result is not None and any(dtype != result.dtype for dtype in real):
            raise ExportError(
                "reads and writes grids of two types",
                where=node_name(node),
                got=f"{', '.join(real)} to {result.dtype}",
                remedy="put an Identity with a QuantizeLinear of its own between them",
            )
        return result.dtype if result is not None else (real or ["int8"])[0]

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

    def define_plain(self, value: ir.Value, dtype: str, layout: Layout) -> int:
        """A new tensor for a value that is no real number: an index or a truth value."""
        index = self.add_tensor(Tensor(tensor_name(value), layout.tensor_shape, dtype))
        self.layouts[self.tensors[index].name] = layout
        self.views[str(value.name)] = View(index, layout)
        return index

    def define(self, value: ir.Value, grid: Quantization | None, layout: Layout | None = None) -> int:
        """A new tensor for a float value of the ONNX graph, in the canonical layout unless one is given.

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
        if layout is None:
            layout = Layout.arranged(self.shape(value))
        index = self.add_activation(tensor_name(value), layout.tensor_shape, grid)
        self.layouts[self.tensors[index].name] = layout
        self.views[str(value.name)] = View(index, layout)
        return index

    def view(self, value: ir.Value | None, node: ir.Node) -> View:
        """The tensor and layout behind a node's input, as they are.

        Raises:
            ExportError: the input is missing, a constant, or not quantized.
        """
        source = float_source(value, node)
        if str(source.name) not in self.views:
            raise ExportError(f"the input {source.name} is not quantized", where=node_name(node))
        view = self.views[str(source.name)]
        tensor = self.tensors[view.tensor]
        if self.dtype == "float32" and tensor.quantization is not None:
            key = (view.tensor, "float32")
            if key not in self._arranged:
                self._arranged[key] = self.requantize(view.tensor, FLOAT, f"{tensor.name}/float")
            return View(self._arranged[key], view.layout)
        return view

    def activation(self, value: ir.Value | None, node: ir.Node, order: Order | Layout | None = None) -> int:
        """The TFLite tensor behind a node's input, in the layout that the node's kernel wants.

        Args:
            value, node: the input and who reads it.
            order: the ONNX axes that the tensor's dimensions are, such as ``(0, (), 2, 1)`` for [N, 1, L, C] of an
                [N, C, L]; a whole layout; or None for the canonical order: NHWC of four dimensions, else ONNX's.

        Raises:
            ExportError: the input is missing, a constant, or not quantized.
        """
        view = self.view(value, node)
        wanted = order if isinstance(order, Layout) else Layout.arranged(view.layout.shape, order)
        name = tensor_name(float_source(value, node))
        result = self.arrange(view.tensor, view.layout, wanted, name, f"before {node_name(node)}")
        if self.tensors[result].name == name:  # where the value had no tensor, the first that is made gets its name
            self.layouts.setdefault(name, wanted)
        return result

    def axis_order(self, value: ir.Value | None, node: ir.Node, *, last: int | None = None) -> tuple[int, ...]:
        """The order of a node's input in which each axis is a dimension and the least has to be moved.

        Args:
            value, node: the input and who reads it.
            last: the axis that the kernel wants as the last dimension, if it does.
        """
        layout = self.view(value, node).layout
        order = layout.axis_order() or Layout.arranged(layout.shape).axis_order()
        assert order is not None, "no axis of the canonical layout is in parts"
        return order if last is None else (*(axis for axis in order if axis != last), last)

    def pass_on(self, node: ir.Node, view: View, value: ir.Value | None = None) -> None:
        """Let a node that computes nothing have its result (or the value given) in its input's tensor; on another grid,
        QUANTIZE it."""
        value = node.outputs[0] if value is None else value
        grid = self.grid_after(value)
        tensor = view.tensor
        if grid is not None and not grid.same_grid(self.grid(tensor)):
            self.notes.append(f"QUANTIZE added for {node_name(node)}: its input is on another grid")
            tensor = self.requantize(tensor, grid, tensor_name(value))
            self.layouts.setdefault(self.tensors[tensor].name, view.layout)
        self.views[str(value.name)] = View(tensor, view.layout)

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
        return grids[0] if grids else FLOAT if self.floats and _is_real(value) else None

    def result_grid(self, node: ir.Node) -> Quantization:
        """The grid that a node's result is computed on: its own, or that after the Relu or Clip that alone reads it.

        Raises:
            ExportError: there is none.
        """
        if self.dtype == "float32":
            return FLOAT
        grid = self.grid_after(following_clamp(node.outputs[0])[0])
        if grid is None:
            raise ExportError("its result is not quantized", where=node_name(node), wanted="QuantizeLinear after it")
        return grid

    # --- operations ---------------------------------------------------------------------------------------------

    def emit(
        self,
        node: ir.Node,
        kind: str,
        inputs: Sequence[int],
        options: Any = None,
        *,
        layout: Layout | None = None,
        version: int = 1,
        forced: Quantization | None = None,
        same: int | None = None,
        fuse: bool = False,
        result: ir.Value | None = None,
    ) -> int:
        """Add the operation that computes a node's first output, with the activation that follows fused if asked.

        Args:
            node: the ONNX node.
            kind, inputs, options, version: the TFLite operation.
            layout: how the result is held; the canonical layout when left out.
            forced: the grid that TFLite's kernel insists on; where ONNX says another, a QUANTIZE follows.
            same: the tensor whose codes the operation moves or picks: its grid is forced, and the result has it where
                ONNX gives none.
            fuse: whether ``options`` has a fused activation that a following Relu or Clip may be put in.
            result: the value that is computed where it is not the node's first output: that of a node fused with it.

        Returns:
            The tensor of the node's output (of the activation's, when fused).
        """
        self.check_kernel(node, kind)
        value, bounds, clamps = self._clamped(node.outputs[0] if result is None else result)
        if self.dtype == "float32" and not (fuse and bounds.fused):  # they have kernels of their own
            value, bounds, clamps = (node.outputs[0] if result is None else result), NO_BOUNDS, []
        self.fused.update(clamps)
        forced = self._forced(forced, same)
        grid = self.grid_after(value)
        converts = grid is not None and forced is not None and not forced.same_grid(grid)
        if fuse and bounds.fused and (not converts or self.dtype == "float32"):
            options.fusedActivationFunction, bounds = bounds.fused, NO_BOUNDS
        ends = (None, None) if grid is None else bounds.on(grid)
        if ends == (None, None):
            return self._add(node, kind, inputs, options, [(value, layout)], version, forced, same)[0]
        shape = (layout or Layout.arranged(self.shape(value))).tensor_shape
        name = tensor_name(value)
        assert grid is not None, "without a grid there are no ends"
        computed = self.add_activation(f"{name}/before_clamp", shape, forced if converts and forced else grid)
        self.add_operator(kind, inputs, [computed], options, version)
        if converts:
            self._note_conversion(node, kind)
            computed = self.requantize(computed, grid, f"{name}/requantized")
        return self.clamp(value, computed, ends, layout)

    def _clamped(self, value: ir.Value) -> tuple[ir.Value, Bounds, list[ir.Node]]:
        """The value after the Relu and Clip that alone read one, if that has a grid; else the value itself."""
        after, bounds, nodes = following_clamp(value)
        return (after, bounds, nodes) if self.grid_after(after) is not None else (value, NO_BOUNDS, [])

    def emit_all(
        self,
        node: ir.Node,
        kind: str,
        inputs: Sequence[int],
        options: Any,
        layouts: Sequence[Layout | None],
        *,
        version: int = 1,
        forced: Quantization | None = None,
        same: int | None = None,
    ) -> list[int]:
        """As :meth:`emit`, for an operation that computes all of a node's outputs, each with its layout."""
        self.check_kernel(node, kind)
        results = list(zip(node.outputs, layouts, strict=True))
        return self._add(node, kind, inputs, options, results, version, forced, same)

    def _add(
        self,
        node: ir.Node,
        kind: str,
        inputs: Sequence[int],
        options: Any,
        results: Sequence[tuple[ir.Value, Layout | None]],
        version: int,
        forced: Quantization | None,
        same: int | None,
    ) -> list[int]:
        """The operation, and a QUANTIZE for each result that ONNX has on another grid than the kernel."""
        forced = self._forced(forced, same)
        written, outputs, converted = [], [], []
        for value, layout in results:
            grid = self.grid_after(value)
            if grid is None and same is not None:
                grid = forced
            if grid is None or forced is None or forced.same_grid(grid):
                output = between = self.define(value, grid, layout)
            else:
                shape = (layout or Layout.arranged(self.shape(value))).tensor_shape
                between = self.add_activation(f"{tensor_name(value)}/before_quantize", shape, forced)
                output = self.define(value, grid, layout)
                converted.append((between, output))
            written.append(between)
            outputs.append(output)
        self.add_operator(kind, inputs, written, options, version)
        for between, output in converted:
            self.convert(between, output)
            self._note_conversion(node, kind)
        return outputs

    def check_kernel(self, node: ir.Node, kind: str) -> None:
        """Refuse an operation that no runtime computes in the node's type."""
        if (why := MISSING.get(self.dtype, {}).get(kind)) is not None:
            raise no_form(node, self.dtype, why)

    def _forced(self, forced: Quantization | None, same: int | None) -> Quantization | None:
        """The grid that the kernel insists on: floats, that of a tensor, or the one given."""
        if self.dtype == "float32":
            return FLOAT
        return forced if same is None else self.grid(same)

    def _note_conversion(self, node: ir.Node, kind: str) -> None:
        if self.dtype != "float32":  # there the recipe asked for it
            self.notes.append(f"QUANTIZE added after {node_name(node)}: TFLite's {kind} needs its input's grid")

    def clamp(
        self, value: ir.Value, tensor: int, ends: tuple[float | None, float | None], layout: Layout | None = None
    ) -> int:
        """A value that is a tensor on its own grid held to a smallest and a largest code."""
        before, grid = self.tensors[tensor], self.grid(tensor)
        kinds = [(kind, code) for kind, code in zip(("MAXIMUM", "MINIMUM"), ends, strict=True) if code is not None]
        for i, (kind, code) in enumerate(kinds):
            limit = np.full([1] * len(before.shape), code, grid.dtype)
            bound = self.add_constant(f"{tensor_name(value)}/{kind.lower()}", limit, grid)
            last = i == len(kinds) - 1
            result = (
                self.define(value, grid, layout)
                if last
                else self.add_activation(f"{tensor_name(value)}/clamped", before.shape, grid)
            )
            self.add_operator(kind, [tensor, bound], [result], schema.MaximumMinimumOptionsT(), version=2)
            tensor = result
        return tensor


def _is_real(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)


def tensor_name(value: ir.Value) -> str:
    """The name that a value's tensor gets."""
    return str(value.name).removesuffix(OUTPUT_SUFFIX)
