"""What is in a .tflite, .onnx or .edgeqpack file: operations, tensors, grids, sizes, and how much of it is int8."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.display.summary import Result, Summary, Table, table
from edgeq.errors import FormatError
from edgeq.file_kind import kind_of
from edgeq.grid import q_format
from edgeq.whole_file import read_whole

__all__ = ["Inspection", "OperationRow", "TensorRow", "inspect_file"]

FIXED_POINT = {"int8": 8, "uint8": 8, "int16": 16}
QUANTIZED = {"int8", "uint8", "int4", "int2", "int16"}


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A tensor.

    Attributes:
        name, dtype: of the tensor.
        shape: sizes; a string where symbolic.
        size_bytes: of a constant; 0 otherwise.
        grid: its scale and zero point in words; empty where there is none.
        format: in a .tflite file whose scale is a power of two, the fixed-point format, such as ``Q1.7``.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    size_bytes: int
    grid: str
    format: str = ""


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation: its kind, what it writes and how many multiply-accumulates that takes (0 where it multiplies
    none)."""

    kind: str
    output: str
    shape: tuple[int | str, ...]
    dtype: str
    macs: int


@dataclass(frozen=True, slots=True)
class Inspection(Result):
    """A file, taken apart.

    Attributes:
        path, format, size_bytes: of the file; ``format`` is ``tflite``, ``onnx`` or ``edgeqpack``.
        inputs, outputs: tensors at its ends.
        operations: in execution order.
        tensors: constants and activations.
        facts: what else the file says: signature, metadata, opset.
    """

    path: str
    format: str
    size_bytes: int
    inputs: tuple[TensorRow, ...]
    outputs: tuple[TensorRow, ...]
    operations: tuple[OperationRow, ...]
    tensors: tuple[TensorRow, ...]
    facts: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """How often each operation occurs, most first."""
        return dict(Counter(row.kind for row in self.operations).most_common())

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(row.size_bytes for row in self.tensors)

    @property
    def int8_share_of_constants(self) -> float:
        """Share of the constants' bytes that are int8 codes, 0 to 1; int32 biases count as the rest."""
        total = self.constant_bytes
        return (
            sum(row.size_bytes for row in self.tensors if row.dtype in ("int8", "uint8", "int4", "int2")) / total
            if total
            else 0.0
        )

    @property
    def integer_share_of_operations(self) -> float:
        """Share of the operations whose result is a quantized integer, 0 to 1."""
        if not self.operations:
            return 0.0
        return sum(row.dtype in QUANTIZED for row in self.operations) / len(self.operations)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(row.macs for row in self.operations)

    def summary(self) -> Summary:
        ends = [(word, row) for word, rows in (("input", self.inputs), ("output", self.outputs)) for row in rows]
        rows = [[item.kind, item.output, _typed(item.dtype, item.shape), f"{item.macs:,}"] for item in self.operations]
        return (
            f"{self.path}: {self.format}, {self.size_bytes:,} bytes, {self.macs:,} multiply-accumulates",
            *(f"  {word:6}  {row.name}  {_typed(row.dtype, row.shape)}  {row.grid}".rstrip() for word, row in ends),
            *(f"  {key}: {_fact(value)}" for key, value in self.facts.items() if value),
            f"  int8: {100 * self.int8_share_of_constants:.1f} % of {self.constant_bytes:,} constant bytes, "
            f"{100 * self.integer_share_of_operations:.1f} % of {len(self.operations)} operations are integer",
            table("", ["operation", "output", "", "MACs"], rows, right={3}),
        )

    def tensor_table(self) -> Table:
        """Every tensor with its grid and size."""
        rows = [
            [
                row.name,
                _typed(row.dtype, row.shape),
                f"{row.size_bytes:,}" if row.size_bytes else "",
                row.grid,
                row.format,
            ]
            for row in self.tensors
        ]
        return table("", ["tensor", "", "bytes", "grid: real =", "format"], rows, right={2})

    def to_dict(self) -> dict[str, Any]:
        """The attributes, and what is computed of them."""
        return dataclasses.asdict(self) | {
            "counts": self.counts,
            "constant_bytes": self.constant_bytes,
            "int8_share_of_constants": self.int8_share_of_constants,
            "integer_share_of_operations": self.integer_share_of_operations,
            "macs": self.macs,
        }


def _typed(dtype: str, shape: tuple[int | str, ...]) -> str:
    return f"{dtype} {'x'.join(map(str, shape)) if shape else 'scalar'}"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({size} bytes)" for key, size in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def inspect_file(path: Path) -> Inspection:
    """Read a file and say what is in it.

    Raises:
        FormatError: it cannot be read, is damaged, or is neither TFLite, ONNX nor a package.
    """
    if path.is_dir():
        raise FormatError("is a folder", where=path, wanted="a .tflite, .onnx or .edgeqpack file")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    kind = kind_of(head)
    if kind == "tflite":
        return _inspect_tflite(path, read_whole(path))
    if kind == "edgeqpack":
        return _inspect_package(path)
    if path.suffix == ".onnx":
        return _inspect_onnx(path)
    raise FormatError(
        "is neither a TFLite nor an ONNX file", where=path, wanted="TFL3 at byte 4, a name in .onnx, or a package"
    )


# --- TFLite ---------------------------------------------------------------------------------------


def _inspect_package(path: Path) -> Inspection:
    """The .tflite file inside, and how much smaller the package is."""
    from edgeq.packing.package import unpack_bytes

    package = read_whole(path)
    content = unpack_bytes(package, where=str(path))
    inside = _inspect_tflite(path, content)
    told = f"unpacks to {len(content):,} bytes of TFLite, {len(content) / len(package):.1f} times as much"
    return dataclasses.replace(
        inside, format="edgeqpack", size_bytes=len(package), facts={"package": told} | inside.facts
    )


def _inspect_tflite(path: Path, content: bytes) -> Inspection:
    from edgeq.tflite.read import read_graph
    from edgeq.tflite.workload import operator_macs

    graph = read_graph(content, where=str(path))
    rows = tuple(_tflite_row(tensor) for tensor in graph.tensors)
    operations = tuple(
        OperationRow(
            operator.kind,
            rows[operator.outputs[0]].name if operator.outputs else "",
            rows[operator.outputs[0]].shape if operator.outputs else (),
            rows[operator.outputs[0]].dtype if operator.outputs else "",
            operator_macs(graph, operator),
        )
        for operator in graph.operators
    )
    facts: dict[str, Any] = {"description": graph.description, "signature_inputs": list(graph.input_names)}
    facts["signature_outputs"] = list(graph.output_names)
    facts["metadata"] = {name: len(content) for name, content in graph.metadata.items()}
    if (version := graph.metadata.get("min_runtime_version")) is not None:
        facts["min_runtime_version"] = version.rstrip(b"\0").decode("ascii", "replace")
    return Inspection(
        path=str(path),
        format="tflite",
        size_bytes=len(content),
        inputs=tuple(rows[i] for i in graph.inputs),
        outputs=tuple(rows[i] for i in graph.outputs),
        operations=operations,
        tensors=rows,
        facts=facts,
    )


def _tflite_row(tensor: Any) -> TensorRow:
    from edgeq.tflite.model import PACKED_BITS

    grid = ""
    if tensor.quantization is not None:
        scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
        if scale.size == 1:
            grid = _grid_text(scale[0], zero[0])
        else:
            grid = f"{scale.size} scales {scale.min():.4g} to {scale.max():.4g} along axis {tensor.quantization.axis}"
    size = 0 if tensor.data is None else int(tensor.data.nbytes)
    if tensor.dtype in PACKED_BITS:  # several codes a byte
        size = -(-size * PACKED_BITS[tensor.dtype] // 8)
    return TensorRow(tensor.name, tensor.dtype, tensor.shape, size, grid, _format(tensor))


def _format(tensor: Any) -> str:
    """The fixed-point format of a tensor of one scale; a constant has as many bits as its largest code takes."""
    from edgeq.tflite.model import PACKED_BITS

    grid = tensor.quantization
    if grid is None or grid.scale.size != 1 or tensor.dtype not in (*FIXED_POINT, *PACKED_BITS):
        return ""
    unsigned = tensor.dtype == "uint8"
    bits = FIXED_POINT.get(tensor.dtype) or PACKED_BITS[tensor.dtype]
    if tensor.data is not None and tensor.data.size and not unsigned:
        bits = 1 + max(int(tensor.data.max()).bit_length(), (-int(tensor.data.min())).bit_length())
    zero = int(grid.zero_point[0]) - (128 if unsigned else 0)
    return q_format(float(grid.scale[0]), zero, bits)


# --- ONNX -----------------------------------------------------------------------------------------


def _inspect_onnx(path: Path) -> Inspection:
    from edgeq.onnx_file import load_onnx

    model = load_onnx(path)
    grids: dict[str, str] = {}
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            text = _onnx_grid(node)
            for value in (node.inputs[0], node.outputs[0]):
                if value is not None:
                    grids.setdefault(str(value.name), text)
    constants = tuple(_onnx_row(value, grids) for value in model.graph.initializers.values())
    activations = tuple(_onnx_row(value, grids) for node in model.graph for value in node.outputs)
    operations = []
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        row = _onnx_row(node.outputs[0], grids)
        dtype = "int8" if _is_quantized(node.outputs[0]) else row.dtype
        operations.append(OperationRow(node.op_type, row.name, row.shape, dtype, _onnx_macs(node)))
    return Inspection(
        path=str(path),
        format="onnx",
        size_bytes=path.stat().st_size,
        inputs=tuple(_onnx_row(value, grids) for value in model.graph.inputs),
        outputs=tuple(_onnx_row(value, grids) for value in model.graph.outputs),
        operations=tuple(operations),
        tensors=constants + activations,
        facts={"opset": model.opset_imports.get("", 0), "producer": model.producer_name or ""},
    )


def _is_quantized(value: Any) -> bool:
    """Whether all that reads a value quantizes it, if after an activation function that is fused."""
    users = [user for user, _ in value.uses()]
    return bool(users) and all(
        user.op_type == "QuantizeLinear" or (user.op_type in ("Relu", "Clip") and _is_quantized(user.outputs[0]))
        for user in users
    )


def _onnx_grid(node: Any) -> str:
    scale = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if scale is None:
        return "computed"
    values = scale.numpy()
    if values.size != 1:
        return f"{values.size} scales {values.min():.4g} to {values.max():.4g}"
    zero = node.inputs[2].const_value if len(node.inputs) > 2 and node.inputs[2] is not None else None
    point = 0 if zero is None else int(zero.numpy().ravel()[0])
    return _grid_text(float(values.ravel()[0]), point)


def _grid_text(scale: float, zero_point: int) -> str:
    if not zero_point:
        return f"{scale:.6g} * q"
    return f"{scale:.6g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"


def _onnx_row(value: Any, grids: dict[str, str]) -> TensorRow:
    shape = () if value.shape is None else tuple(s if isinstance(s, int) else str(s) for s in value.shape)
    dtype = (
        "unknown"
        if value.dtype is None
        else {"float": "float32"}.get(value.dtype.name.lower(), value.dtype.name.lower())
    )
    size = 0 if value.const_value is None else int(value.const_value.nbytes)
    return TensorRow(str(value.name), dtype, shape, size, grids.get(str(value.name), ""))


def _onnx_macs(node: Any) -> int:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.inputs[1] is None or node.inputs[1].shape is None:
        return 0
    weight, result = node.inputs[1].shape, node.outputs[0].shape
    if result is None or not all(isinstance(size, int) for size in (*weight, *result)):
        return 0
    if node.op_type == "Conv":
        return int(math.prod(result) * math.prod(weight[1:]))
    inner = weight[1] if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) else weight[-2]
    return int(math.prod(result) * inner)
