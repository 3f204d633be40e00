"""Layer by layer: every operation computed from the same input codes in three ways, so that no difference is passed on.

The reference kernels run the whole file once; their codes are then fed to each operation by itself, in LiteRT with
XNNPACK and in onnxruntime. Both runtimes get a model in which every operation reads inputs of the model and writes
outputs of it, so one run checks all. onnxruntime computes with its optimizations off: dequantized, in float, rounded
once - an arithmetic that shares nothing with TFLite's integer kernels.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.onnx_session import open_session
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import OUTPUT_SUFFIX
from edgeq.tflite.model import Graph, Operator, Tensor
from edgeq.tflite.write import write_graph
from edgeq.verify.floats import float_bound, relative_error
from edgeq.verify.litert import delegated_operators, load, run_all_tensors
from edgeq.verify.reasons import refusal_reason
from edgeq.verify.report import LayerParity

__all__ = ["IMPRECISE_REFERENCE", "compare_layers", "cut_graph", "cut_qdq"]

IMPRECISE_REFERENCE = ("RESIZE_BILINEAR",)  # places pixels by fractions of 10 bits: XNNPACK is compared with ONNX
TOLERANCE = 1
"""Codes that a layer may differ by: kernels that round a tie differently differ by one, wrong arithmetic by more."""
INT16_TABLES = ("EXP", "GELU", "LOGISTIC", "SOFTMAX", "TANH")
INT16_TABLE_TOLERANCE = 64
"""LiteRT's int16 kernels of these interpolate in a table of 513 entries; 64 codes are a quarter of a step of int8."""
Codes = dict[str, list[NDArray[Any]]]  # by tensor name: an array a sample


def compare_layers(
    content: bytes,
    graph: Graph,
    qdq: ir.Model,
    layouts: Mapping[str, Layout],
    inputs: list[NDArray[Any]],
) -> list[LayerParity]:
    """Compare each operation of a file in LiteRT's reference kernels, XNNPACK and onnxruntime.

    Args:
        content: the .tflite file.
        graph: the same, read.
        qdq: the QDQ ONNX model it was made from.
        layouts: of :class:`edgeq.tflite.convert.Conversion`.
        inputs: samples as the file takes them, an array an input.

    Returns:
        A row an operation, in order.
    """
    tensors = run_all_tensors(content, inputs)
    codes = {graph.tensors[index].name: values for index, values in tensors.items()}
    xnnpack = _run_cut_graph(graph, codes)
    onnx_codes = _run_cut_qdq(qdq, codes, layouts)
    delegated = delegated_operators(content)
    rows = []
    inner: dict[int, float] = {}  # bounds of tensors that ONNX has no value for: what reads them is off by them, too
    for i, operator in enumerate(graph.operators):
        names = [graph.tensors[index].name for index in operator.outputs]
        tensor = graph.tensors[operator.outputs[0]]
        if tensor.name not in xnnpack:  # constants in float16, made float32 once
            continue
        other, found = onnx_codes.get(tensor.name), (codes[tensor.name], xnnpack[tensor.name])
        row = LayerParity(
            name=tensor.name,
            operation=operator.kind,
            onnx_difference=None,
            xnnpack_difference=0,
            delegated=i in delegated,
            reason="" if i in delegated else refusal_reason(graph, operator),
        )
        if tensor.dtype == "float32" and operator.kind != "DEQUANTIZE":
            error = max(relative_error(part, codes[tensor.name] if other is None else other) for part in found)
            bound = float_bound(graph, operator, codes) + sum(inner.get(index, 0.0) for index in operator.inputs)
            if other is None:
                inner[operator.outputs[0]] = bound
            rows.append(replace(row, error=error, bound=bound))
            continue
        base = xnnpack if operator.kind in IMPRECISE_REFERENCE else codes
        differences = [_difference(onnx_codes[name], base[name]) for name in names if name in onnx_codes]
        between = max(_difference(xnnpack[name], codes[name]) for name in names)
        bound = _code_bound(graph, operator)
        most = max(differences, default=None)
        rows.append(replace(row, onnx_difference=most, xnnpack_difference=between, bound=bound))
    return rows


def _code_bound(graph: Graph, operator: Operator) -> int:
    """How many codes an operation may be off by."""
    tables = operator.kind in INT16_TABLES and graph.tensors[operator.outputs[0]].dtype == "int16"
    return INT16_TABLE_TOLERANCE if tables else TOLERANCE


def _difference(first: list[NDArray[Any]], second: list[NDArray[Any]]) -> int:
    """The largest difference in codes; of float tensors, in units in the last place of the largest float32."""
    return max((_distance(one, other) for one, other in zip(first, second, strict=True)), default=0)


def _distance(one: NDArray[Any], other: NDArray[Any]) -> int:
    if one.dtype == np.float32:  # XNNPACK subtracts the zero point after the product, in one rounding
        unit = np.spacing(np.abs(one).max(initial=1e-30))
        return math.ceil(float(np.abs(one - other.astype(np.float32)).max(initial=0) / unit) - 0.5)
    wide = np.int16 if one.dtype.itemsize == 1 else np.int64
    return int(np.abs(np.subtract(one, other, dtype=wide)).max(initial=0))


# --- TFLite ---------------------------------------------------------------------------------------


def cut_graph(graph: Graph) -> Graph:
    """The graph with every operation on its own: activations it reads are inputs, what it writes is an output."""
    tensors = list(graph.tensors)
    outputs: list[int] = []
    read: dict[int, None] = {}
    operators: list[Operator] = []
    constant: set[int] = set()
    for operator in graph.operators:
        if all(graph.tensors[i].data is not None for i in operator.inputs):
            operators.append(operator)
            constant.update(operator.outputs)
            continue
        written = []
        for index in operator.outputs:
            tensors.append(_renamed(graph.tensors[index]))
            written.append(len(tensors) - 1)
        activations = (i for i in operator.inputs if i >= 0 and graph.tensors[i].data is None and i not in constant)
        read.update(dict.fromkeys(activations))
        outputs += written
        operators.append(replace(operator, outputs=tuple(written)))
    inputs = list(read)
    names = [tensors[i].name for i in inputs]
    results = [tensors[i].name for i in outputs]
    return Graph(tuple(tensors), tuple(operators), tuple(inputs), tuple(outputs), tuple(names), tuple(results))


def _renamed(tensor: Tensor) -> Tensor:
    return replace(tensor, name=f"{tensor.name}/computed")


def _run_cut_graph(graph: Graph, codes: Codes) -> Codes:
    cut = cut_graph(graph)
    interpreter = load(write_graph(cut))
    slots = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    results = {detail["name"].removesuffix("/computed"): detail["index"] for detail in interpreter.get_output_details()}
    rows: Codes = {name: [] for name in results}
    for i in range(len(next(iter(codes.values())))):
        for name, slot in slots.items():
            interpreter.set_tensor(slot, codes[name][i])
        interpreter.invoke()
        for name, index in results.items():
            rows[name].append(interpreter.get_tensor(index))
    return rows


# --- ONNX -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a QDQ model was taken apart, at every quantized activation.

    Attributes:
        inputs: by tensor name, the model input that takes its codes.
        outputs: by tensor name, the model output that gives its codes as computed.
        shifts: by tensor name, what to add to int8 codes for this model's own type (128 for uint8).
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    shifts: dict[str, int]


def cut_qdq(proto: onnx.ModelProto, names: Collection[str], floats: Collection[str] = ()) -> Cut:
    """Cut a QDQ model in place, between the QuantizeLinear and DequantizeLinear of each of the named activations and
    behind each of the named floats."""
    graph = proto.graph
    real = {
        info.name
        for info in (*graph.value_info, *graph.output)
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and info.name in floats
    }
    zero_types = {item.name: item.data_type for item in graph.initializer}
    shapes = {
        info.name: [size.dim_value or 1 for size in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for slot, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, slot))
    kinds: dict[str, int] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    shifts: dict[str, int] = {}
    for node in graph.node:
        name = node.input[0].removesuffix(OUTPUT_SUFFIX) if node.input else ""
        if node.op_type != "QuantizeLinear" or name not in names:
            continue
        kind = zero_types.get(node.input[2], onnx.TensorProto.UINT8) if len(node.input) > 2 else onnx.TensorProto.UINT8
        inputs[name], outputs[name], kinds[name] = f"{node.output[0]}/fed", node.output[0], kind
        shifts[name] = 128 if kind == onnx.TensorProto.UINT8 else 0
    for node in graph.node:
        for name in node.output:
            if name in real and name not in outputs and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                inputs[name], outputs[name], kinds[name], shifts[name] = f"{name}/fed", name, onnx.TensorProto.FLOAT, 0
    del graph.output[:]
    for name, result in outputs.items():
        for reader, slot in readers.get(result, ()):
            reader.input[slot] = inputs[name]
        shape = shapes.get(name, shapes.get(f"{name}{OUTPUT_SUFFIX}"))
        graph.input.append(onnx.helper.make_tensor_value_info(inputs[name], kinds[name], shape))
        graph.output.append(onnx.helper.make_tensor_value_info(result, kinds[name], None))
    del graph.value_info[:]
    return Cut(inputs, outputs, shifts)


def _run_cut_qdq(qdq: ir.Model, codes: Codes, layouts: Mapping[str, Layout]) -> Codes:
    cuts: list[Cut] = []
    floats = {name for name in codes.keys() & layouts.keys() if codes[name][0].dtype == np.float32}
    names = (codes.keys() & layouts.keys()) - floats
    session = open_session(qdq, change=lambda proto: cuts.append(cut_qdq(proto, names, floats)))
    cut = cuts[0]
    float_inputs = [item for item in session.get_inputs() if item.name not in cut.inputs.values()]
    first = {item.name for item in qdq.graph.inputs}
    rows: Codes = {name: [] for name in cut.outputs if name not in first}
    if not rows:
        return rows
    for i in range(len(next(iter(codes.values())))):
        feed = {slot: _to_onnx(codes[name][i], name, layouts, cut.shifts[name]) for name, slot in cut.inputs.items()}
        for item in float_inputs:  # the network's own: where its codes stand for it, any value will do
            if item.name in floats:
                feed[item.name] = layouts[item.name].to_onnx(codes[item.name][i])
            else:
                feed[item.name] = np.zeros([s if isinstance(s, int) else 1 for s in item.shape], np.float32)
        results = session.run([cut.outputs[name] for name in rows], feed)
        for name, values in zip(rows, results, strict=True):
            rows[name].append(_to_tflite(values, name, layouts, cut.shifts[name]))
    return rows


def _to_onnx(codes: NDArray[Any], name: str, layouts: Mapping[str, Layout], shift: int) -> NDArray[Any]:
    codes = layouts[name].to_onnx(codes)
    return codes if not shift else (codes.astype(np.int16) + shift).astype(np.uint8)


def _to_tflite(codes: NDArray[Any], name: str, layouts: Mapping[str, Layout], shift: int) -> NDArray[Any]:
    return layouts[name].to_tflite(codes if not shift else (codes.astype(np.int16) - shift).astype(np.int8))
