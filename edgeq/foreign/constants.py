"""Quantized constants: each becomes int8 (or int32) codes behind one DequantizeLinear, however it was written.

Producers store float weights before Q and DQ (ModelOpt), clip the codes (Brevitas), or transpose and reshape what comes
out of DQ (torch's exporters). The codes computed here are those that the ONNX specification's QuantizeLinear gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.foreign.editor import DEQUANTIZE, QUANTIZE, Editor
from edgeq.tflite.qdq_values import node_name

__all__ = ["LAYERS", "StoredCodes", "fold_quantized_constants"]

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
LOW, HIGH = -127, 127  # TFLite's quantization specification: int8 weights of the narrow range
BLOCK_ELEMENTS = 1 << 18
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
MOVES = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"}


@dataclass(frozen=True, slots=True)
class StoredCodes:
    """Integers and their grid.

    Attributes:
        name: of the constant they come from.
        codes: of the file's type.
        scale: float32 [] or [C].
        zero_point: int64, of the scale's shape.
        axis: that the scale goes along; None: one scale.
    """

    name: str
    codes: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int | None


def fold_quantized_constants(editor: Editor) -> None:
    """Rewrite every constant behind DequantizeLinear.

    Raises:
        ExportError: weights that are NaN or infinite, and weights whose zero point cannot be made 0; names the node.
    """
    known: dict[ir.Value, StoredCodes] = {}
    for node in editor.graph:
        stored = _follow(node, known)
        if stored is not None:
            known[node.outputs[0]] = stored
    made: dict[tuple[ir.Value, str], ir.Value] = {}
    for value in list(known):
        for user, slot in list(value.uses()):
            if user.op_type in MOVES and user.outputs[0] in known:
                continue
            role = _role(user, slot)
            if (value, role) not in made:
                made[value, role] = _write(editor, known[value], role, user, value)
            user.replace_input_with(slot, made[value, role])


def _role(user: ir.Node, slot: int) -> str:
    if user.op_type in LAYERS and user.domain in ("", "ai.onnx"):
        return {1: "weight", 2: "bias"}.get(slot, "other")
    return "other"


def _follow(node: ir.Node, known: dict[ir.Value, StoredCodes]) -> StoredCodes | None:
    """What a DQ of constants, or a move of one, gives."""
    first = node.inputs[0] if node.inputs else None
    if node.op_type == DEQUANTIZE and first is not None:
        found = _codes(first)
        return None if found is None else _stored(node, *found)
    if node.op_type in MOVES and first in known:
        return _moved(node, known[first])
    return None


def _codes(value: ir.Value) -> tuple[str, NDArray[Any]] | None:
    """The integers of a constant: stored, computed by Q of a float constant, clipped or moved about."""
    chain: list[ir.Node] = []
    while value.const_value is None:
        node = value.producer()
        if node is None or node.op_type not in {QUANTIZE, "Clip", *MOVES} or node.inputs[0] is None:
            return None
        chain.append(node)
        value = node.inputs[0]
    data = np.asarray(value.const_value.numpy())
    for node in reversed(chain):
        data = _apply(node, data)
    name = str(value.name).removesuffix("_quantized")
    return name, data.astype(np.int8) if data.dtype.name in ("int4", "int2") else (
        data.astype(np.uint8) if data.dtype.name in ("uint4", "uint2") else data
    )


def _apply(node: ir.Node, data: NDArray[Any]) -> NDArray[Any]:
    if node.op_type == QUANTIZE:
        return quantized(node, data)
    if node.op_type == "Clip":
        bounds = [None if item is None else _constant(item, node) for item in (*node.inputs, None, None)[1:3]]
        low, high = (default if item is None else item for item, default in zip(bounds, _limits(data), strict=True))
        clipped: NDArray[Any] = np.clip(data, low, high)
        return clipped
    if node.op_type == "Transpose":
        return data.transpose(node.attributes.get_ints("perm", tuple(reversed(range(data.ndim)))))
    return data if node.op_type == "Identity" else data.reshape(_shape(node))


def _limits(data: NDArray[Any]) -> tuple[Any, Any]:
    return data.min(initial=0), data.max(initial=0)


def _shape(node: ir.Node) -> tuple[int, ...]:
    shape = node.outputs[0].shape
    if shape is None or not shape.is_static():
        raise ExportError("the shape of a constant is not known", where=node_name(node))
    return shape.numpy()


def _constant(value: ir.Value | None, node: ir.Node) -> NDArray[Any]:
    if value is None or value.const_value is None:
        raise ExportError(
            "needs a constant, and it is computed",
            where=node_name(node),
            got=getattr(value, "name", None),
            remedy="quantize statically",
        )
    return np.asarray(value.const_value.numpy())


def quantized(node: ir.Node, values: NDArray[Any]) -> NDArray[Any]:
    """What QuantizeLinear gives: saturate(round_half_to_even(x / scale) + zero_point), in float32.

    Raises:
        ExportError: a value is NaN or infinite.
    """
    stored = _stored(node, str(node.inputs[0].name) if node.inputs[0] is not None else "", values)
    kind = _constant(node.inputs[2], node).dtype
    if kind.name not in LIMITS:
        raise ExportError("has no int8 form", where=node_name(node), got=kind.name, wanted=", ".join(LIMITS))
    shape = _along(stored, values.ndim)
    scale, zero_point = (part.astype(np.float32).reshape(shape) for part in (stored.scale, stored.zero_point))
    codes, bad = np.empty(values.shape, kind), 0
    step = max(1, BLOCK_ELEMENTS * len(values) // max(values.size, 1)) if values.ndim else 1
    for start in range(0, len(values) if values.ndim else 1, step):  # in blocks: the whole may be gigabytes
        rows = slice(start, start + step) if values.ndim else ...
        along = rows if stored.axis == 0 else ...
        block = values[rows].astype(np.float32)
        bad += block.size - int(np.count_nonzero(np.isfinite(block)))
        block = np.rint(block / scale[along]) + zero_point[along]
        codes[rows] = np.clip(np.nan_to_num(block), *LIMITS[kind.name]).astype(kind)
    if bad:
        raise ExportError(
            f"the weight {stored.name} has values that are NaN or infinite",
            where=node_name(node),
            got=f"{bad} of {values.size}",
            remedy="look for what made them in the training",
        )
    return codes


def _stored(node: ir.Node, name: str, codes: NDArray[Any]) -> StoredCodes:
    scale = _constant(node.inputs[1], node).astype(np.float32)
    zero_point = _constant(node.inputs[2], node).astype(np.int64)
    if node.attributes.get_int("block_size", 0) or scale.ndim > 1:
        raise ExportError(
            "scales a block have no form in TFLite",
            where=node_name(node),
            got=f"block_size {node.attributes.get_int('block_size', 0)}, scales {list(scale.shape)}",
            wanted="one scale, or one a channel",
            remedy="quantize the weights per channel",
        )
    if scale.size == 1:
        return StoredCodes(name, codes, scale.reshape(()), zero_point.reshape(-1)[:1].reshape(()), None)
    axis = node.attributes.get_int("axis", 1)
    if not -codes.ndim <= axis < codes.ndim or scale.shape != (codes.shape[axis],):
        raise ExportError(
            f"the scales of {name} do not fit it",
            where=node_name(node),
            got=f"{scale.size} scales along axis {axis} of {list(codes.shape)}",
        )
    zero_point = np.broadcast_to(zero_point.reshape(-1), scale.shape)
    return StoredCodes(name, codes, scale, zero_point, axis % codes.ndim)


def _along(stored: StoredCodes, rank: int) -> tuple[int, ...]:
    return tuple(-1 if i == stored.axis else 1 for i in range(rank))


def _moved(node: ir.Node, stored: StoredCodes) -> StoredCodes | None:
    """A constant after Transpose or Reshape; a scale a channel needs its channels to stay together."""
    codes = _apply(node, stored.codes)
    if stored.axis is None or node.op_type == "Identity":
        return replace(stored, codes=codes)
    if node.op_type == "Transpose":
        perm = node.attributes.get_ints("perm", tuple(reversed(range(stored.codes.ndim))))
        return replace(stored, codes=codes, axis=list(perm).index(stored.axis))
    channels, before = stored.codes.shape[stored.axis], int(np.prod(stored.codes.shape[: stored.axis]))
    for axis, size in enumerate(codes.shape):
        if size == channels and int(np.prod(codes.shape[:axis])) == before:
            return replace(stored, codes=codes, axis=axis)
    raise ExportError("a reshape mixes channels of different scales", where=node_name(node), got=stored.name)


def _write(editor: Editor, stored: StoredCodes, role: str, user: ir.Node, value: ir.Value) -> ir.Value:
    """The value of a DQ that reads initializers: the one that is there, or one with new initializers."""
    there = value.producer()
    before = stored.codes
    if role == "weight":
        stored = symmetric_weight(stored, user)
    elif role == "bias":
        stored = _without_zero_point(stored, user)
    if stored.codes is before and there is not None and there.op_type == DEQUANTIZE:
        source = there.inputs[0]
        if (
            source is not None
            and source.const_value is not None
            and source.dtype == ir.DataType.from_numpy(before.dtype)
        ):
            return value
    editor.release(f"{stored.name}_quantized")
    name, shape = stored.name, stored.scale.shape
    zero = np.broadcast_to(stored.zero_point, shape).astype(stored.codes.dtype)
    dequantize = editor.dequantized(name, stored.codes, stored.scale, zero, value, stored.axis)
    editor.graph.insert_before(editor.graph[0], dequantize)  # users may stand anywhere
    return dequantize.outputs[0]


def symmetric_weight(stored: StoredCodes, node: ir.Node) -> StoredCodes:
    """The same numbers as int8 codes with zero point 0: ``q - zero_point`` where all of them fit.

    Raises:
        ExportError: they do not fit, or the codes have no int8 form; names the node.
    """
    if stored.codes.dtype not in (np.int8, np.uint8):
        raise ExportError(
            f"the weight {stored.name} has no int8 form",
            where=node_name(node),
            got=stored.codes.dtype,
            wanted="int8, uint8, int4 or uint4",
            remedy="quantize the weights to 8 bits",
        )
    if stored.codes.dtype == np.int8 and not stored.zero_point.any() and stored.codes.min(initial=0) >= LOW:
        return stored
    codes = stored.codes.astype(np.int16) - stored.zero_point.reshape(_along(stored, stored.codes.ndim))
    low, high = int(codes.min(initial=0)), int(codes.max(initial=0))
    if low < LOW or high > HIGH:
        zero = np.unique(stored.zero_point)
        points = str(zero[0]) if zero.size == 1 else f"{zero[0]} to {zero[-1]}"
        raise ExportError(
            f"the weight {stored.name} cannot be re-expressed exactly with zero point 0",
            where=node_name(node),
            got=f"zero point {points}, codes less it {low} to {high}",
            wanted=f"{LOW} to {HIGH}, as TFLite's int8 kernels need",
            remedy="quantize the weights symmetrically to the narrow range"
            " (onnxruntime: weight_type=QInt8; or extra_options WeightSymmetric with reduce_range)",
        )
    return replace(stored, codes=codes.astype(np.int8), zero_point=np.zeros(stored.scale.shape, np.int64))


def _without_zero_point(stored: StoredCodes, node: ir.Node) -> StoredCodes:
    """A bias as int32 with zero point 0."""
    if stored.codes.dtype == np.int32 and not stored.zero_point.any():
        return stored
    codes = stored.codes.astype(np.int64) - stored.zero_point.reshape(_along(stored, stored.codes.ndim))
    limits = np.iinfo(np.int32)
    if codes.size and (codes.min() < limits.min or codes.max() > limits.max):
        raise ExportError(f"the bias {stored.name} does not fit int32", where=node_name(node), got=codes.max())
    return replace(stored, codes=codes.astype(np.int32), zero_point=np.zeros(stored.scale.shape, np.int64))
