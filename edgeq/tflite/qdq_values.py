"""What the values of a QDQ graph stand for: the float value behind a pair of Q and DQ, constants, weights and grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.grid import asymmetric_grid, fixed_point_grid
from edgeq.tflite.model import FLOAT, Quantization

__all__ = [
    "ON_OWN_GRIDS",
    "Constant",
    "Weight",
    "check_scale",
    "float_source",
    "following_bias",
    "grid_of",
    "has_float_weights",
    "is_constant",
    "node_name",
    "quantize_constant",
    "read_constant",
    "read_operand",
    "read_real_constant",
    "read_weight",
]

ON_OWN_GRIDS = {"Add", "Sub", "Mul", "PRelu"}  # constants of other operations stay float: they go on a grid there is


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant of the ONNX graph that a layer computes with.

    Attributes:
        name: the name it gets in TFLite: the initializer's, without what the quantizer appended.
        codes: int8 or int32, ONNX layout; where it is not quantized, its numbers in float32 or float16.
        scale: float32 [1] or [C]; [1] of what is not quantized.
        axis: the dimension of a per-channel scale.
        dtype: what TFLite stores: int8, int4, float32, float16.
    """

    name: str
    codes: NDArray[Any]
    scale: NDArray[np.float32]
    axis: int
    dtype: str = "int8"


@dataclass(frozen=True, slots=True)
class Constant:
    """An operand of the ONNX graph.

    Attributes:
        name: the name it gets in TFLite.
        codes: ONNX layout.
        grid: one scale and zero point, or FLOAT.
    """

    name: str
    codes: NDArray[Any]
    grid: Quantization


def node_name(node: ir.Node) -> str:
    """A node as messages name it: its name and its operation."""
    return f"node {node.name or node.outputs[0].name} ({node.op_type})"


def float_source(value: ir.Value | None, node: ir.Node) -> ir.Value:
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


def is_constant(value: ir.Value | None) -> bool:
    if value is None:
        return False
    dequantize = value.producer()
    if dequantize is not None and dequantize.op_type == "DequantizeLinear":
        return dequantize.inputs[0] is not None and dequantize.inputs[0].const_value is not None
    return _stored(value).const_value is not None


def _stored(value: ir.Value) -> ir.Value:
    """The initializer itself where a Cast makes float32 of a float16 one."""
    cast = value.producer()
    if cast is None or cast.op_type != "Cast" or cast.inputs[0] is None or cast.inputs[0].dtype != ir.DataType.FLOAT16:
        return value
    return cast.inputs[0] if cast.inputs[0].const_value is not None else value


def has_float_weights(node: ir.Node) -> bool:
    """Whether a layer's weights are stored as floats."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.inputs[1] is None:
        return False
    source = float_source(node.inputs[1], node)
    producer = source.producer()
    quantized = producer is not None and producer.op_type == "DequantizeLinear"
    return not quantized and is_constant(source) and (node.op_type != "MatMul" or len(source.shape or ()) == 2)


def following_bias(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """The Add that alone reads a product which has no grid of its own, and its constant of a value an output."""
    product = node.outputs[0]
    uses = list(product.uses())
    if len(uses) != 1 or product.is_graph_output() or uses[0][0].op_type != "Add":
        return None
    add, slot = uses[0]
    bias = add.inputs[1 - slot]
    if bias is None or not is_constant(float_source(bias, add)) or product.shape is None:
        return None
    shape, outputs = read_real_constant(bias, add).shape, product.shape[-1]
    if shape[-1:] not in ((), (1,), (outputs,)) or any(size != 1 for size in shape[:-1]):
        return None
    return add, bias


def read_constant(value: ir.Value | None, node: ir.Node) -> NDArray[Any]:
    """The numbers of a constant input, such as a shape or axes.

    Raises:
        ExportError: it is computed, not constant.
    """
    stored = None if value is None else _stored(value).const_value
    if stored is None:
        raise ExportError("needs a constant input", where=node_name(node), got=getattr(value, "name", None))
    numbers = np.asarray(stored.numpy())
    return numbers.astype(np.int8) if stored.dtype in (ir.DataType.INT4, ir.DataType.INT2) else numbers


def read_real_constant(value: ir.Value, node: ir.Node) -> NDArray[Any]:
    """A constant, float or quantized (DequantizeLinear of integers, or the pair of Q and DQ), in real numbers.

    Raises:
        ExportError: it is computed, not constant.
    """
    source = float_source(value, node)
    dequantize = source.producer()
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return read_constant(source, node)
    codes, scale, zero_point = (
        None if item is None else read_constant(item, node).astype(np.float64)
        for item in (*dequantize.inputs, None)[:3]
    )
    assert codes is not None and scale is not None, "both are required inputs"
    if scale.size > 1:
        shape = [1] * codes.ndim
        shape[dequantize.attributes.get_int("axis", 1) % codes.ndim] = -1
        scale, zero_point = scale.reshape(shape), None if zero_point is None else zero_point.reshape(shape)
    return scale * (codes - (0 if zero_point is None else zero_point))


def read_weight(value: ir.Value | None, node: ir.Node, *, floats: bool = False) -> Weight:
    """A quantized constant input: its integers and scales as they stand in the file.

    Args:
        value, node: the input and who reads it.
        floats: whether a constant in float32 or float16 is taken, too.

    Raises:
        ExportError: the input is not a DequantizeLinear of constant int8 or int32 with zero point 0.
    """
    if floats and value is not None and has_float_weights(node):
        layer, numbers = str(_stored(value).name).removesuffix("_half"), read_constant(value, node)
        return Weight(layer, numbers, np.ones(1, np.float32), 0, numbers.dtype.name)
    dequantize = value.producer() if value is not None else None
    if value is None or dequantize is None or dequantize.op_type != "DequantizeLinear":
        name = getattr(value, "name", None)
        raise ExportError("a weight is not quantized", where=node_name(node), got=name, wanted="DequantizeLinear")
    stored, scale, zero_point = (*dequantize.inputs, None)[:3]
    codes = read_constant(stored, node)
    if codes.dtype not in (np.int8, np.int32):
        raise ExportError("a weight has an unknown type", where=node_name(node), got=codes.dtype, wanted="int8")
    if zero_point is not None and np.any(read_constant(zero_point, node) != 0):
        raise ExportError(
            "a weight has a zero point that is not 0",
            where=node_name(node),
            remedy="quantize weights symmetrically, as TFLite's int8 kernels need",
        )
    scales = np.atleast_1d(read_constant(scale, node)).astype(np.float32)
    check_scale(scales, str(stored.name) if stored is not None else "", node)
    axis = dequantize.attributes.get_int("axis", 1) if scales.size > 1 else 0
    name = str(stored.name).removesuffix("_quantized") if stored is not None else ""
    narrow = stored is not None and stored.dtype in (ir.DataType.INT4, ir.DataType.INT2)
    return Weight(name, codes, scales, axis % max(codes.ndim, 1), "int4" if narrow else codes.dtype.name)


def read_operand(value: ir.Value, node: ir.Node, dtype: str) -> Constant:
    """A constant operand of a node that computes in a type: its numbers in float32; the integers of a DequantizeLinear
    with one scale as they stand (uint8 shifted to int8 exactly); any other constant on the grid over its own range.

    Raises:
        ExportError: it is computed, or has values that are not finite.
    """
    dequantize = float_source(value, node).producer()
    if dtype == "float32":
        name = str(float_source(value, node).name)
        return Constant(name, read_real_constant(value, node).astype(np.float32), FLOAT)
    if dequantize is not None and dequantize.op_type == "DequantizeLinear":
        stored, scales, zero = (*dequantize.inputs, None)[:3]
        codes = read_constant(stored, node)
        scale = np.atleast_1d(read_constant(scales, node)).astype(np.float32)
        check_scale(scale, str(value.name), node)
        name = str(stored.name if stored is not None else value.name).removesuffix("_quantized")
        if codes.dtype == np.int16 and dtype == "int16" and scale.size == 1:
            return Constant(name, codes, Quantization.per_tensor(scale[0], 0, dtype))
        if dtype == "int8" and codes.dtype in (np.int8, np.uint8) and scale.size == 1:
            zero_point = 0 if zero is None else int(read_constant(zero, node).ravel()[0])
            shift = 128 if codes.dtype == np.uint8 else 0
            shifted = (codes.astype(np.int16) - shift).astype(np.int8)
            return Constant(name, shifted, Quantization.per_tensor(scale[0], zero_point - shift))
    else:
        name = str(float_source(value, node).name)
    codes, grid = quantize_constant(read_real_constant(value, node), f"constant {name}", dtype)
    return Constant(name, codes, grid)


def quantize_constant(
    values: NDArray[Any], where: str, dtype: str = "int8", *, power_of_two: bool = False
) -> tuple[NDArray[Any], Quantization]:
    """Float values on the int8 or int16 grid over their own range; a number that stands alone is exact, unless the
    scale has to be a power of two.

    Raises:
        ExportError: one is NaN or infinite.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ExportError("has values that are NaN or infinite", where=where)
    if power_of_two:
        grid = Quantization.per_tensor(
            *fixed_point_grid(float(values.min(initial=0)), float(values.max(initial=0)), dtype), dtype
        )
        return grid.codes(values), grid
    if dtype == "int16":
        grid = Quantization.holding(float(np.abs(values).max(initial=0)), dtype)
        return grid.codes(values), grid
    scale, zero_point = asymmetric_grid(float(values.min(initial=0)), float(values.max(initial=0)))
    codes = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
    return codes, Quantization.per_tensor(scale, zero_point)


def grid_of(quantize: ir.Node) -> Quantization:
    scale = np.atleast_1d(read_constant(quantize.inputs[1], quantize)).astype(np.float32)
    zero_input = quantize.inputs[2] if len(quantize.inputs) > 2 else None
    zero = np.zeros(1, np.uint8) if zero_input is None else np.atleast_1d(read_constant(zero_input, quantize))
    if scale.size != 1:
        raise ExportError("an activation has a scale a channel", where=node_name(quantize), wanted="one scale")
    symmetric_int16 = zero.dtype == np.int16 and zero[0] == 0
    if zero.dtype not in (np.int8, np.uint8) and not symmetric_int16:
        raise ExportError(
            "an activation has no form in TFLite",
            where=node_name(quantize),
            got=f"{zero.dtype}, zero point {zero[0]}",
            wanted="int8 or uint8, or int16 with zero point 0",
        )
    check_scale(scale, str(quantize.inputs[0].name if quantize.inputs[0] else ""), quantize)
    if symmetric_int16:
        return Quantization.per_tensor(scale[0], 0, "int16")
    shift = 128 if zero.dtype == np.uint8 else 0
    return Quantization.per_tensor(scale[0], int(zero[0]) - shift)


def check_scale(scale: NDArray[np.float32], name: str, node: ir.Node) -> None:
    """Refuse scales that no runtime can work with."""
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise ExportError(f"the scale of {name} is not positive and finite", where=node_name(node), got=bad[0])
