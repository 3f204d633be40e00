"""What each TFLite operation becomes in the XNNPACK runner's graph file: one row each in :data:`RULES`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeq.bench import xnnpack_tables as tables
from edgeq.bench.xnnpack_format import MAX_DIMS, Kind, Value, ValueType
from edgeq.bench.xnnpack_graph import GraphEncoder, Rule
from edgeq.bench.xnnpack_tables import Codes
from edgeq.tflite.model import Operator, Tensor

__all__ = ["RULES"]

OPEN = (-math.inf, math.inf)
LIMITS = {  # of TFLite's fused activations
    schema.ActivationFunctionType.NONE: OPEN,
    schema.ActivationFunctionType.RELU: (0.0, math.inf),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
}
SCORE_GRID = (1 / 256, -128)


def _limits(encoder: GraphEncoder, operator: Operator) -> tuple[float, float]:
    activation = encoder.option(operator, "fusedActivationFunction")
    if activation not in LIMITS:
        raise encoder.error(operator, "has a fused activation that XNNPACK has not", got=activation)
    return LIMITS[activation]


def _is_8_bit(tensor: Tensor) -> bool:
    return tensor.dtype in ("int8", "uint8")


def _codes(tensor: Tensor) -> Codes:
    limits = np.iinfo(tensor.dtype)
    return np.arange(limits.min, limits.max + 1, dtype=np.int64)


def _axes(sizes: list[int], fill: int = 0) -> tuple[int, ...]:
    """One parameter an axis, filled up to what the runner takes."""
    return (*sizes, *(fill,) * (MAX_DIMS - len(sizes)))


def _same(encoder: GraphEncoder, operator: Operator) -> int:
    return int(encoder.option(operator, "padding") == schema.Padding.SAME)


# --- convolutions and dense layers ------------------------------------------------------------------------------------


def _convolution_params(encoder: GraphEncoder, operator: Operator, last: int) -> tuple[int, ...]:
    names = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")
    return (_same(encoder, operator), *(int(encoder.option(operator, name)) for name in names), last)


def convolution(encoder: GraphEncoder, operator: Operator) -> None:
    source, filters = encoder.tensor(operator, 0), encoder.tensor(operator, 1)
    if len(source.shape) != 4 or len(filters.shape) != 4 or not filters.shape[3] or source.shape[3] % filters.shape[3]:
        raise encoder.error(operator, "has shapes that do not fit", got=(source.shape, filters.shape))
    groups = source.shape[3] // filters.shape[3]
    weight = encoder.weight(operator, filters, filters.shape, 0)
    inputs = (*encoder.inputs(operator, 1), weight, *encoder.bias(operator, source, weight))
    params = _convolution_params(encoder, operator, groups)
    encoder.emit(operator, Kind.CONVOLUTION, inputs, params, _limits(encoder, operator))


def depthwise_convolution(encoder: GraphEncoder, operator: Operator) -> None:
    source, filters = encoder.tensor(operator, 0), encoder.tensor(operator, 1)
    if len(source.shape) != 4 or len(filters.shape) != 4 or not source.shape[3]:
        raise encoder.error(operator, "has shapes that do not fit", got=(source.shape, filters.shape))
    weight = encoder.weight(operator, filters, filters.shape, 3)
    inputs = (*encoder.inputs(operator, 1), weight, *encoder.bias(operator, source, weight))
    params = _convolution_params(encoder, operator, filters.shape[3] // source.shape[3])
    encoder.emit(operator, Kind.DEPTHWISE_CONVOLUTION, inputs, params, _limits(encoder, operator))


def fully_connected(encoder: GraphEncoder, operator: Operator) -> None:
    """Of int8 a 1x1 convolution between two reshapes: XNNPACK of 2022 has no dense layer with scales a channel."""
    source, filters, result = encoder.tensor(operator, 0), encoder.tensor(operator, 1), encoder.output(operator)
    if len(filters.shape) != 2 or 0 in filters.shape or math.prod(source.shape) % filters.shape[1]:
        raise encoder.error(operator, "has shapes that do not fit", got=(source.shape, filters.shape))
    outputs, width = filters.shape
    limits = _limits(encoder, operator)
    if filters.dtype == "float32":
        weight = encoder.weight(operator, filters, filters.shape, 0)
        inputs = (*encoder.inputs(operator, 1), weight, *encoder.bias(operator, source, weight))
        encoder.emit(operator, Kind.FULLY_CONNECTED, inputs, (), limits)
        return
    rows = math.prod(source.shape) // width
    weight = encoder.weight(operator, filters, (outputs, 1, 1, width), 0)
    bias = encoder.bias(operator, source, weight)
    before, after = encoder.grid(operator, source), encoder.grid(operator, result)
    image = encoder.add_value(Value(ValueType.INT8, (rows, 1, 1, width), before.scale, before.zero_point))
    product = encoder.add_value(Value(ValueType.INT8, (rows, 1, 1, outputs), after.scale, after.zero_point))
    encoder.add_node(Kind.RESHAPE, encoder.inputs(operator, 1), image)
    encoder.add_node(Kind.CONVOLUTION, (image, weight, *bias), product, (0, 1, 1, 1, 1, 1), limits)
    encoder.emit(operator, Kind.RESHAPE, (product,))


# --- arithmetic, pools and means --------------------------------------------------------------------------------------


def _binary(kind: Kind) -> Rule:
    def rule(encoder: GraphEncoder, operator: Operator) -> None:
        encoder.emit(operator, kind, encoder.inputs(operator, 2), (), _limits(encoder, operator))

    return rule


def _pool(encoder: GraphEncoder, operator: Operator) -> tuple[int, ...]:
    window = tuple(
        int(encoder.option(operator, name)) for name in ("filterHeight", "filterWidth", "strideH", "strideW")
    )
    return (_same(encoder, operator), *window)


def max_pool(encoder: GraphEncoder, operator: Operator) -> None:
    params = _pool(encoder, operator)
    if params[1:3] == (1, 1):
        raise encoder.error(operator, "has a window of one pixel, which XNNPACK has not")
    encoder.emit(operator, Kind.MAX_POOL, encoder.inputs(operator, 1), params, _limits(encoder, operator))


def average_pool(encoder: GraphEncoder, operator: Operator) -> None:
    """XNNPACK of 2022 has none of int8; the runner's own does as TFLite's."""
    params, limits = _pool(encoder, operator), _limits(encoder, operator)
    inputs = encoder.inputs(operator, 1)
    source, result = encoder.tensor(operator, 0), encoder.output(operator)
    if source.dtype == "float32":
        if params[1:3] == (1, 1):
            raise encoder.error(operator, "has a window of one pixel, which XNNPACK has not")
        encoder.emit(operator, Kind.AVERAGE_POOL, inputs, params, limits)
        return
    grid = encoder.grid(operator, result)
    if source.dtype != "int8" or grid != encoder.grid(operator, source):
        raise encoder.error(operator, "is not int8 on one grid")
    codes = tables.code_limits(grid, *limits)
    encoder.emit(operator, Kind.AVERAGE_POOL_INT8, inputs, (*params, *codes))


def mean(encoder: GraphEncoder, operator: Operator) -> None:
    """The runner's own: XNNPACK of 2022 rounds int8 otherwise than LiteRT does now. Float pixels are XNNPACK's."""
    source = encoder.tensor(operator, 0)
    rank = len(source.shape)
    given = encoder.integers(operator, 1)
    if not rank or any(not -rank <= axis < rank for axis in given):
        raise encoder.error(operator, "is over an axis that is not there", got=given)
    axes = {axis % rank for axis in given}
    if not axes:
        raise encoder.error(operator, "is over no axis")
    if rank == 4 and axes == {1, 2} and source.dtype == "float32":
        encoder.emit(operator, Kind.GLOBAL_AVERAGE_POOL, encoder.inputs(operator, 1))
    else:
        encoder.emit(operator, Kind.MEAN, encoder.inputs(operator, 1), (sum(1 << axis for axis in axes),))


# --- functions of one element -----------------------------------------------------------------------------------------


def _relu(low: float, high: float) -> Rule:
    def rule(encoder: GraphEncoder, operator: Operator) -> None:
        source = encoder.tensor(operator, 0)
        if source.dtype == "float32":
            encoder.emit(operator, Kind.CLAMP, encoder.inputs(operator, 1), (), (low, high))
            return
        before, after = _int8_grids(encoder, operator)
        encoder.emit_table(operator, tables.relu(_codes(source), before, after, low, high))

    return rule


def _int8_grids(encoder: GraphEncoder, operator: Operator) -> tuple[tables.Grid, tables.Grid]:
    source, result = encoder.tensor(operator, 0), encoder.output(operator)
    if source.dtype != "int8" or result.dtype != "int8":
        raise encoder.error(operator, "is neither int8 nor float32", got=(source.dtype, result.dtype))
    return encoder.grid(operator, source), encoder.grid(operator, result)


def leaky_relu(encoder: GraphEncoder, operator: Operator) -> None:
    slope = float(encoder.option(operator, "alpha"))
    source = encoder.tensor(operator, 0)
    if source.dtype == "float32":
        encoder.emit(operator, Kind.LEAKY_RELU, encoder.inputs(operator, 1), (), (slope, math.inf))
        return
    before, after = _int8_grids(encoder, operator)
    encoder.emit_table(operator, tables.leaky_relu(_codes(source), before, after, slope))


def logistic(encoder: GraphEncoder, operator: Operator) -> None:
    """XNNPACK's int8 form is for TFLite's score grid; another is rare and gets a table."""
    source = encoder.tensor(operator, 0)
    if source.dtype != "float32":
        before, after = _int8_grids(encoder, operator)
        if (after.scale, after.zero_point) != SCORE_GRID:
            encoder.emit_table(operator, tables.logistic(_codes(source), before, after))
            return
    encoder.emit(operator, Kind.LOGISTIC, encoder.inputs(operator, 1))


def tanh(encoder: GraphEncoder, operator: Operator) -> None:
    source = encoder.tensor(operator, 0)
    if source.dtype == "float32":
        encoder.emit(operator, Kind.TANH, encoder.inputs(operator, 1))
        return
    encoder.emit_table(operator, tables.tanh(_codes(source), *_int8_grids(encoder, operator)))


def hard_swish(encoder: GraphEncoder, operator: Operator) -> None:
    source = encoder.tensor(operator, 0)
    if source.dtype == "float32":
        encoder.emit(operator, Kind.HARD_SWISH, encoder.inputs(operator, 1))
        return
    encoder.emit_table(operator, tables.hard_swish(_codes(source), *_int8_grids(encoder, operator)))


def softmax(encoder: GraphEncoder, operator: Operator) -> None:
    beta = float(encoder.option(operator, "beta"))
    if encoder.tensor(operator, 0).dtype == "float32":
        if beta != 1:
            raise encoder.error(operator, "has a beta that XNNPACK has not", got=beta, wanted=1)
        encoder.emit(operator, Kind.SOFTMAX, encoder.inputs(operator, 1))
        return
    _, after = _int8_grids(encoder, operator)
    if (after.scale, after.zero_point) != SCORE_GRID or not 0 < beta < math.inf:
        raise encoder.error(operator, "has a grid or beta that TFLite does not take", got=after, wanted=SCORE_GRID)
    encoder.emit(operator, Kind.SOFTMAX_INT8, encoder.inputs(operator, 1), (), (beta, math.inf))


def quantize(encoder: GraphEncoder, operator: Operator) -> None:
    """float32 to 8 bits by XNNPACK; from one 8-bit grid to another by a table."""
    source, result = encoder.tensor(operator, 0), encoder.output(operator)
    if source.dtype == "float32" and _is_8_bit(result):
        encoder.emit(operator, Kind.CONVERT, encoder.inputs(operator, 1))
        return
    if not (_is_8_bit(source) and _is_8_bit(result)):
        raise encoder.error(operator, "is not from float32 or 8 bits to 8 bits", got=(source.dtype, result.dtype))
    before, after = encoder.grid(operator, source), encoder.grid(operator, result)
    codes = _codes(source)
    converted = tables.xnnpack_convert(codes, before, after) if source.dtype == result.dtype else None
    if converted is not None:
        encoder.emit_table(operator, converted)
    else:
        encoder.emit_table(operator, *tables.requantize(codes, before, after))


def dequantize(encoder: GraphEncoder, operator: Operator) -> None:
    source, result = encoder.tensor(operator, 0), encoder.output(operator)
    if not _is_8_bit(source) or result.dtype != "float32":
        raise encoder.error(operator, "is not from 8 bits to float32", got=(source.dtype, result.dtype))
    encoder.emit(operator, Kind.CONVERT, encoder.inputs(operator, 1))


# --- moving elements --------------------------------------------------------------------------------------------------


def reshape(encoder: GraphEncoder, operator: Operator) -> None:
    encoder.emit(operator, Kind.RESHAPE, encoder.inputs(operator, 1))


def concatenation(encoder: GraphEncoder, operator: Operator) -> None:
    result, axis = encoder.output(operator), int(encoder.option(operator, "axis"))
    rank = len(result.shape)
    if _limits(encoder, operator) != OPEN or not -rank <= axis < rank:
        raise encoder.error(operator, "has an activation or axis that is not there", got=axis)
    for slot in range(len(operator.inputs) if _is_8_bit(result) else 0):
        if encoder.grid(operator, encoder.tensor(operator, slot)) != encoder.grid(operator, result):
            raise encoder.error(operator, "has inputs on several grids")
    encoder.emit(operator, Kind.CONCATENATION, encoder.inputs(operator), (axis % rank,))


def transpose(encoder: GraphEncoder, operator: Operator) -> None:
    rank = len(encoder.tensor(operator, 0).shape)
    inputs = encoder.inputs(operator, 1)
    order = [axis % rank for axis in encoder.integers(operator, 1, rank)]
    encoder.emit(operator, Kind.TRANSPOSE, inputs, _axes(order))


def _pads(encoder: GraphEncoder, operator: Operator) -> tuple[int, ...]:
    rank = len(encoder.tensor(operator, 0).shape)
    amounts = encoder.integers(operator, 1, 2 * rank)
    if any(not 0 <= amount < 1 << 24 for amount in amounts):
        raise encoder.error(operator, "has amounts that cannot be", got=amounts)
    return (*_axes(amounts[0::2]), *_axes(amounts[1::2]))


def pad(encoder: GraphEncoder, operator: Operator) -> None:
    inputs = encoder.inputs(operator, 1)
    encoder.emit(operator, Kind.PAD, inputs, _pads(encoder, operator))


def pad_with_value(encoder: GraphEncoder, operator: Operator) -> None:
    inputs = encoder.inputs(operator, 1)
    value = encoder.constant(operator, 2).ravel()
    if value.size != 1 or not np.isfinite(value[0]):
        raise encoder.error(operator, "has no one value to fill with", got=value.size)
    encoder.emit(operator, Kind.FILL_PAD, inputs, _pads(encoder, operator), (float(value[0]), math.inf))


def strided_slice(encoder: GraphEncoder, operator: Operator) -> None:
    shape = encoder.tensor(operator, 0).shape
    inputs = encoder.inputs(operator, 1)
    starts, ends, steps = (encoder.integers(operator, slot, len(shape)) for slot in (1, 2, 3))
    if any(encoder.option(operator, f"{name}Mask") for name in ("ellipsis", "newAxis", "shrinkAxis")):
        raise encoder.error(operator, "adds or drops an axis")
    if any(step < 1 for step in steps):
        raise encoder.error(operator, "has a step that is not positive", got=steps)
    begin_mask, end_mask = (int(encoder.option(operator, f"{name}Mask")) for name in ("begin", "end"))
    begins = []
    for axis, size in enumerate(shape):
        start = None if begin_mask >> axis & 1 else starts[axis]
        end = None if end_mask >> axis & 1 else ends[axis]
        begins.append(slice(start, end, steps[axis]).indices(size)[0])
    encoder.emit(operator, Kind.SLICE, inputs, (*_axes(begins), *_axes(steps, 1)))


def resize_bilinear(encoder: GraphEncoder, operator: Operator) -> None:
    params = (int(encoder.option(operator, "alignCorners")), int(encoder.option(operator, "halfPixelCenters")))
    encoder.emit(operator, Kind.RESIZE_BILINEAR, encoder.inputs(operator, 1), params)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "ADD": _binary(Kind.ADD),
        "AVERAGE_POOL_2D": average_pool,
        "CONCATENATION": concatenation,
        "CONV_2D": convolution,
        "DEPTHWISE_CONV_2D": depthwise_convolution,
        "DEQUANTIZE": dequantize,
        "FULLY_CONNECTED": fully_connected,
        "HARD_SWISH": hard_swish,
        "LEAKY_RELU": leaky_relu,
        "LOGISTIC": logistic,
        "MAX_POOL_2D": max_pool,
        "MEAN": mean,
        "MUL": _binary(Kind.MULTIPLY),
        "PAD": pad,
        "PADV2": pad_with_value,
        "QUANTIZE": quantize,
        "RELU": _relu(0.0, math.inf),
        "RELU6": _relu(0.0, 6.0),
        "RELU_0_TO_1": _relu(0.0, 1.0),
        "RELU_N1_TO_1": _relu(-1.0, 1.0),
        "RESHAPE": reshape,
        "RESIZE_BILINEAR": resize_bilinear,
        "SOFTMAX": softmax,
        "STRIDED_SLICE": strided_slice,
        "SUB": _binary(Kind.SUBTRACT),
        "TANH": tanh,
        "TRANSPOSE": transpose,
    }
)
