"""Functions of one 8-bit code as tables of 256 entries, to the byte what LiteRT on x86 and ARM gives for each code.

Each is checked against LiteRT for every code in the tests. Codes are int64 arrays of all 256 inputs in order of the
code (-128..127 or 0..255); results are clipped to the output's type by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Codes",
    "Grid",
    "code_limits",
    "hard_swish",
    "leaky_relu",
    "logistic",
    "relu",
    "requantize",
    "tanh",
    "xnnpack_convert",
]

Codes = NDArray[np.int64]
INT16_MAX, INT16_MIN = 2**15 - 1, -(2**15)
XNNPACK_RATIOS = (2.0**-8, 2.0**7)
"""Scale ratios that XNNPACK's conversions of 8-bit codes take (src/operators/unary-elementwise-nc.c)."""


@dataclass(frozen=True, slots=True)
class Grid:
    """real = scale * (code - zero_point); the scale is a float32's value."""

    scale: float
    zero_point: int


def requantize(codes: Codes, before: Grid, after: Grid) -> tuple[Codes, Codes]:
    """Codes of one grid on another, as TFLite's QUANTIZE: in whole blocks of 16, and in what is left over.

    Source: tensorflow/lite/kernels/internal/optimized/optimized_ops.h, Requantize: the vector code rounds ties up, the
    scalar code away from zero.
    """
    multiplier, shift = _quantize_multiplier(before.scale / after.scale)
    distance = codes - before.zero_point
    high = ((distance << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    blocks = (high + (1 << (right - 1))) >> right if right else high
    return blocks + after.zero_point, _multiply(distance, multiplier, shift) + after.zero_point


def xnnpack_convert(codes: Codes, before: Grid, after: Grid) -> Codes | None:
    """int8 codes of one grid on another, as XNNPACK's qs8-vcvt; None where it does not take the scales."""
    return _sloped(codes, before, after, 1.0)


def leaky_relu(codes: Codes, before: Grid, after: Grid, slope: float) -> Codes:
    """As XNNPACK's qs8-vlrelu, and where that does not take the scales as TFLite's LEAKY_RELU."""
    sloped = _sloped(codes, before, after, slope)
    if sloped is not None:
        return sloped
    distance = codes - before.zero_point
    positive = _multiply(distance, *_quantize_multiplier(before.scale / after.scale))
    negative = _multiply(distance, *_quantize_multiplier(before.scale * slope / after.scale))
    return np.where(distance >= 0, positive, negative) + after.zero_point


def _sloped(codes: Codes, before: Grid, after: Grid, slope: float) -> Codes | None:
    """Fixed-point products with 8 fractional bits, rounded half up."""
    ratio = np.float32(before.scale) / np.float32(after.scale)
    low, high = XNNPACK_RATIOS
    negative_ratio = ratio * np.float32(slope)
    if not low <= ratio <= high or not (negative_ratio == 0 or low <= abs(negative_ratio) <= high):
        return None
    distance = codes - before.zero_point
    positive, negative = (int(np.rint(np.float32(256) * part)) for part in (ratio, negative_ratio))
    return ((after.zero_point << 8) + 128 + distance * np.where(distance >= 0, positive, negative)) >> 8


def relu(codes: Codes, before: Grid, after: Grid, low: float, high: float) -> Codes:
    """TFLite's RELU, RELU6, RELU_N1_TO_1 and RELU_0_TO_1 by their limits (kernels/activations.cc, QuantizedReluX)."""
    moved = _multiply(codes - before.zero_point, *_quantize_multiplier(before.scale / after.scale)) + after.zero_point
    return np.clip(moved, *code_limits(after, low, high))


def code_limits(grid: Grid, low: float, high: float) -> tuple[int, int]:
    """The int8 codes that a fused activation with these limits keeps.

    Source: tensorflow/lite/kernels/kernel_util.cc, CalculateActivationRangeQuantized.
    """

    def code(limit: float, open_end: int) -> int:
        if math.isinf(limit):
            return open_end
        ratio = float(np.float32(limit) / np.float32(grid.scale))
        return grid.zero_point + int(math.copysign(math.floor(abs(ratio) + 0.5), ratio))

    return max(-128, code(low, -128)), min(127, code(high, 127))


def logistic(codes: Codes, before: Grid, after: Grid) -> Codes:
    """As XNNPACK's qs8 sigmoid."""
    with np.errstate(over="ignore"):
        one = np.float32(1)
        return _looked_up(one / (one + np.exp(-_real(codes, before))), after)


def tanh(codes: Codes, before: Grid, after: Grid) -> Codes:
    """As XNNPACK's qs8 tanh."""
    return _looked_up(np.tanh(_real(codes, before)), after)


def _real(codes: Codes, grid: Grid) -> NDArray[np.float32]:
    real: NDArray[np.float32] = np.float32(grid.scale) * (codes - grid.zero_point).astype(np.float32)
    return real


def _looked_up(values: NDArray[np.float32], grid: Grid) -> Codes:
    scaled = values * (np.float32(1) / np.float32(grid.scale))
    codes: Codes = np.rint(scaled).astype(np.int64) + grid.zero_point
    return codes


def hard_swish(codes: Codes, before: Grid, after: Grid) -> Codes:
    """TFLite's fixed-point HARD_SWISH.

    Source: tensorflow/lite/kernels/internal/reference/hard_swish.h and activations.cc, HardSwishPrepare.
    """
    fine_scale = np.float32(1 / 128) * np.float32(before.scale)
    output_multiplier, output_shift = _quantize_multiplier(float(fine_scale / np.float32(after.scale)))
    relu_multiplier, relu_shift = _quantize_multiplier(float(fine_scale / np.float32(3 / 32768)))
    fine = (codes - before.zero_point) * 128
    scaled = _double_high_16(fine, _to_int16(output_multiplier), rounding=True)
    gate = fine
    if relu_shift > 0:
        gate = _clip_16(gate << (relu_shift - 1))
    gate = _double_high_16(gate, _to_int16(relu_multiplier), rounding=True)
    if relu_shift > 0:
        gate = _clip_16(gate << 1)
    elif relu_shift < 0:
        gate = _divide_by_power(gate, -relu_shift)
    gate = (gate + (1 << 15)) >> 1
    product = _double_high_16(gate, scaled, rounding=False)
    return _divide_by_power(product, -output_shift) + after.zero_point


# --- TFLite's fixed point (kernels/internal/quantization_util.cc and common.h) ---------------------------------------


def _quantize_multiplier(real: float) -> tuple[int, int]:
    """real = multiplier / 2^31 * 2^shift."""
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    return (2**31 - 1, 30) if shift > 30 else (multiplier, shift)


def _multiply(values: Codes, multiplier: int, shift: int) -> Codes:
    """MultiplyByQuantizedMultiplier with two roundings."""
    product = (values << max(shift, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    return _divide_by_power(_truncated(nudged, 31), max(-shift, 0))


def _truncated(values: Codes, bits: int) -> Codes:
    """Division by a power of two towards zero, as C's."""
    return np.where(values >= 0, values >> bits, -(-values >> bits))


def _divide_by_power(values: Codes, bits: int) -> Codes:
    """RoundingDivideByPOT: ties away from zero."""
    mask = (1 << bits) - 1
    threshold = (mask >> 1) + (values < 0)
    return (values >> bits) + ((values & mask) > threshold)


def _to_int16(multiplier: int) -> int:
    return min((multiplier + (1 << 15)) >> 16, INT16_MAX)


def _clip_16(values: Codes) -> Codes:
    return np.clip(values, INT16_MIN, INT16_MAX)


def _double_high_16(a: Codes, b: Codes | int, *, rounding: bool) -> Codes:
    """Saturating(Rounding)DoublingHighMul of int16."""
    product = np.asarray(a * b, np.int64)
    if rounding:
        product = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.minimum(_truncated(product, 15), INT16_MAX)
