"""QDQ ONNX to a TFLite graph: every integer and scale as it stands in the ONNX file, and the edges a user meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.gelu import find_gelus
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import FLOAT, Graph, Quantization, Tensor
from edgeq.tflite.ops import OPERATIONS
from edgeq.tflite.ops.activation import SCORE_GRID, fixed_grid

__all__ = ["Conversion", "Head", "Interface", "convert_qdq", "unsupported_nodes"]

Interface = Literal["uint8", "int8", "int16", "float32"]
Head = Literal["none", "softmax"]

NOT_LOWERED = {"QuantizeLinear", "DequantizeLinear", "Constant"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """A lowered model.

    Attributes:
        graph: ready for :func:`edgeq.tflite.write.write_graph`.
        notes: what had to be added to keep the meaning, such as a QUANTIZE for a foreign grid; one line each.
        layouts: by tensor name, how it holds the ONNX value of that name (of a dense layer's weight: its columns).
    """

    graph: Graph
    notes: tuple[str, ...]
    layouts: dict[str, Layout]


def convert_qdq(model: ir.Model, *, io: Interface = "int8", head: Head = "none", floats: bool = False) -> Conversion:
    """Lower an ONNX model to TFLite: in int8 or int16 what is between QuantizeLinear and DequantizeLinear.

    Args:
        model: opset 13 or later, shapes inferred, every activation between QuantizeLinear and DequantizeLinear.
        io: the type of the file's inputs and outputs: ``int8`` and ``uint8`` are codes on the model's grids (uint8
            is the int8 code + 128), ``int16`` codes of a model with int16 activations; ``float32`` is quantized and
            dequantized inside.
        head: ``softmax`` turns the logits into scores (one output [N, classes] then).
        floats: compute in float32 what is not quantized, rather than refuse it.

    Returns:
        The graph, with four-dimensional inputs and outputs in NHWC.

    Raises:
        ExportError: an operation without an int8 form, a value without a grid, a shape that is not fixed; names the
            node.
    """
    low = Lowering({name: row.lower for name, row in OPERATIONS.items()}, floats=floats)
    low.run(model.graph)
    inputs = [low.views[str(value.name)].tensor for value in model.graph.inputs]
    outputs = [_output(low, value) for value in model.graph.outputs]
    if head == "softmax":
        outputs = [_scores(low, index) for index in outputs]
    names = [str(value.name) for value in model.graph.inputs]
    result_names = ["scores" if head == "softmax" else str(value.name) for value in model.graph.outputs]
    body, low.operators = low.operators, []
    first = [_enter(low, index, io) for index in inputs]
    low.operators += body
    last = [_leave(low, index, name, io) for index, name in zip(outputs, result_names, strict=True)]
    graph = Graph(
        tuple(low.tensors),
        tuple(low.operators),
        tuple(first),
        tuple(last),
        tuple(names),
        tuple(result_names),
    )
    return Conversion(graph, tuple(low.notes), low.layouts)


def unsupported_nodes(model: ir.Model) -> list[ir.Node]:
    """The nodes of a float or QDQ model whose operation has no int8 form, in order."""
    inner = {node for chain in find_gelus(model.graph) for node in chain.inner}
    return [
        node
        for node in model.graph
        if node not in inner
        and not (node.domain in ("", "ai.onnx") and (node.op_type in OPERATIONS or node.op_type in NOT_LOWERED))
    ]


def _output(low: Lowering, value: ir.Value) -> int:
    dequantize = value.producer()
    quantize = None
    if dequantize is not None and dequantize.op_type == "DequantizeLinear" and dequantize.inputs[0] is not None:
        quantize = dequantize.inputs[0].producer()
    source = value if quantize is None or quantize.op_type != "QuantizeLinear" else quantize.inputs[0]
    if source is None or str(source.name) not in low.views:
        raise ExportError(
            "the output is not quantized", where=f"output {value.name}", wanted="QuantizeLinear and DequantizeLinear"
        )
    view = low.views[str(source.name)]
    wanted = Layout.arranged(view.layout.shape)
    result = low.arrange(view.tensor, view.layout, wanted, str(value.name), f"before the output {value.name}")
    low.layouts.setdefault(low.tensors[result].name, wanted)
    return result


def _scores(low: Lowering, logits: int) -> int:
    tensor = low.tensors[logits]
    grid = fixed_grid(tensor.dtype, SCORE_GRID)
    scores = low.add_activation(f"{tensor.name}/softmax", tensor.shape, grid)
    low.add_operator("SOFTMAX", [logits], [scores], schema.SoftmaxOptionsT(beta=1.0), version=2)
    return scores


def _shifted(grid: Quantization) -> Quantization:
    """The uint8 grid whose codes are the int8 codes + 128."""
    return Quantization(grid.scale, grid.zero_point + 128, grid.axis, "uint8")


def _enter(low: Lowering, index: int, io: Interface) -> int:
    """The tensor that a user fills, and the QUANTIZE behind it."""
    outer = _end(low, index, f"{low.tensors[index].name}_{io}", io)
    if outer != index:
        low.convert(outer, index)
    return outer


def _leave(low: Lowering, index: int, name: str, io: Interface) -> int:
    """The tensor that a user reads, and the QUANTIZE or DEQUANTIZE before it."""
    outer = _end(low, index, name, io)
    if outer != index:
        low.convert(index, outer)
    return outer


def _end(low: Lowering, index: int, name: str, io: Interface) -> int:
    """A tensor of the type that a user wants at an end of the graph; the inner one where it has it, or has no grid.

    Raises:
        ExportError: it cannot be had by a QUANTIZE; names the end.
    """
    inner = low.tensors[index]
    if inner.dtype == io or inner.dtype in ("bool", "int32", "int64"):
        return index
    fits = {"float32": ("int8", "int16"), "uint8": ("int8",)}.get(io, ())
    if inner.dtype not in fits:
        raise ExportError(f"an end of {inner.dtype} has no {io} form", where=f"value {inner.name}",
                          remedy=f"use --io {inner.dtype} or --io float32")  # fmt: skip
    if io == "float32":
        return low.add_activation(name, inner.shape, FLOAT)
    assert inner.quantization is not None, "int8 is on a grid"
    return low.add_tensor(Tensor(name, inner.shape, io, _shifted(inner.quantization)))
