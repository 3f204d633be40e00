"""The integer grid: bits to frequency and back, codes and steps. The one home of weight rounding; no torch, no files.

A grid is named after the periodic function whose zeros are its points. With ``c = max|w|`` and frequency ``f``:

- sine and hat (eq. 8, 9): points ``c k / f`` for k = -f..f; codes k in [-f, f], step ``c / f``.
- cosine: points ``c (k + 1/2) / f`` for k = -f..f-1; codes the odd integers 2k + 1, step ``c / (2 f)``.

In fixed point the step is a power of two near it, and c follows from that.

Equation numbers are those of Naumov et al. 2018, "On Periodic Functions as Regularizers for Quantization of Neural
Networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ExportError, RecipeError

__all__ = [
    "Function",
    "Grid",
    "QuantizedWeight",
    "asymmetric_grid",
    "bits_to_frequency",
    "fixed_point_grid",
    "frequency_to_bits",
    "power_of_two_steps",
    "q_format",
    "quantize_weight",
]

Function = Literal["sine", "cosine", "hat"]

INT8_MIN, INT8_MAX = -128, 127


def bits_to_frequency(bits: int, function: Function = "sine") -> int:
    """The frequency whose periodic function has a grid of ``bits`` bits (eq. 10 for sine and hat, eq. 12 for cosine).

    Raises:
        RecipeError: fewer than 2 bits with sine or hat, fewer than 1 with cosine.
    """
    if function not in get_args(Function):
        raise RecipeError("unknown periodic function", where="regularizer", got=function, wanted="sine, cosine or hat")
    least = 1 if function == "cosine" else 2
    if bits < least:
        remedy = "use --regularizer cosine for 1 bit" if bits == 1 else None
        raise RecipeError(
            f"a {function} grid has no {bits}-bit form",
            where="--bits",
            got=bits,
            wanted=f"{least} or more",
            remedy=remedy,
        )
    return int(2 ** (bits - 1)) - (0 if function == "cosine" else 1)


def frequency_to_bits(frequency: float, function: Function = "sine") -> float:
    """The bits that a frequency stands for (eq. 11 for sine and hat, eq. 13 for cosine); not always a whole number.

    Raises:
        RecipeError: the frequency is not positive.
    """
    if not frequency > 0:
        raise RecipeError("a frequency must be positive", where="frequency", got=frequency)
    return math.log2(frequency) + 1 if function == "cosine" else math.log2(frequency + 1) + 1


def asymmetric_grid(low: float, high: float) -> tuple[float, int]:
    """The scale (exactly a float32) and zero point of the int8 grid over [low, high] widened to hold zero, which is
    then exactly a code.

    Source: Jacob et al. 2017, arXiv:1712.05877, section 3.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / (INT8_MAX - INT8_MIN)))
    if not scale >= np.finfo(np.float32).tiny:  # values that are always zero
        return 1.0, INT8_MIN if low == 0 else INT8_MAX
    return scale, int(np.clip(np.rint(INT8_MIN - low / scale), INT8_MIN, INT8_MAX))


def fixed_point_grid(low: float, high: float, dtype: str = "int8") -> tuple[float, int]:
    """The finest grid over [low, high] whose scale is a power of two, and its zero point: 0 where there are negative
    values or the type is int16, else the smallest code, which makes all codes count.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = (-128, 127) if dtype == "int8" else (-32768, 32767)
    zero = least if low == 0 and dtype == "int8" else 0
    needed = max(high / (most - zero), low / (least - zero) if least < zero else 0.0)
    if not needed >= np.finfo(np.float32).tiny:  # values that are always zero
        return 1.0, zero
    mantissa, exponent = math.frexp(needed)
    return math.ldexp(0.5 if mantissa == 0.5 else 1.0, exponent), zero


def q_format(scale: float, zero_point: int, bits: int) -> str:
    """The fixed-point format of a grid, ``Q I.F`` with the sign among the I bits, or ``UQ I.F`` where there is none;
    empty where the scale is no power of two or the zero point is neither 0 nor the smallest code."""
    mantissa, exponent = math.frexp(scale)
    if mantissa != 0.5 or not bits or zero_point not in (0, -(1 << (bits - 1))):
        return ""
    fraction = 1 - exponent
    return f"{'UQ' if zero_point else 'Q'}{bits - fraction}.{fraction}"


@dataclass(frozen=True, slots=True)
class Grid:
    """A weight grid that fits int8.

    Attributes:
        bits: 2 to 8 for sine and hat, 1 to 7 for cosine (its codes are odd numbers up to 2^bits - 1).
        function: the periodic function whose zeros are the grid's points.
        power_of_two: whether steps are powers of two (dynamic fixed point).

    Raises:
        RecipeError: the codes of such a grid do not fit int8, or there is no such grid.
    """

    bits: int = 8
    function: Function = "sine"
    power_of_two: bool = False

    def __post_init__(self) -> None:
        most = 7 if self.function == "cosine" else 8
        if bits_to_frequency(self.bits, self.function) and self.bits > most:
            raise RecipeError(
                f"the codes of a {self.bits}-bit {self.function} grid do not fit int8",
                where="--bits",
                got=self.bits,
                wanted=f"at most {most} with {self.function}",
                remedy="use fewer bits, or sine for 8" if self.function == "cosine" else "use 8 bits or fewer",
            )

    @property
    def frequency(self) -> int:
        """The frequency f of eq. (8) and (9)."""
        return bits_to_frequency(self.bits, self.function)

    @property
    def qmax(self) -> int:
        """The largest code; the smallest is its negative."""
        return 2 * self.frequency - 1 if self.function == "cosine" else self.frequency

    @property
    def steps_in_max(self) -> int:
        """How many steps make up ``max|w|``."""
        return 2 * self.frequency if self.function == "cosine" else self.frequency


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """One layer's weight on its grid.

    Attributes:
        codes: int8, in PyTorch's layout, [O, ...].
        step: float32 [1] (one a tensor) or [O] (one an output channel); positive and finite.
        grid: the grid the codes were rounded to.
        distance: mean distance of the float weights from their grid points before rounding, in steps (0 to 0.5).
    """

    codes: NDArray[np.int8]
    step: NDArray[np.float32]
    grid: Grid
    distance: float

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights that the codes stand for, float32, [O, ...]."""
        return self.codes.astype(np.float32) * broadcast_step(self.step, self.codes.ndim)


def broadcast_step(step: NDArray[np.float32], ndim: int) -> NDArray[np.float32]:
    """A step of shape [1] or [O] shaped to multiply a weight [O, ...] of ``ndim`` dimensions."""
    return step.reshape(-1, *([1] * (ndim - 1)))


def quantize_weight(
    weight: NDArray[np.float32],
    grid: Grid,
    *,
    per_channel: bool = False,
    name: str = "weight",
    scale: NDArray[np.float32] | None = None,
) -> QuantizedWeight:
    """Round a trained weight to its grid, once; the step is ``max|w| / f`` (half of it for cosine), or in fixed point
    the power of two near it that :func:`power_of_two_steps` chooses.

    Args:
        weight: float32 [O, ...].
        grid: the grid to round to.
        per_channel: one step an output channel instead of one for the tensor.
        name: the layer's name, for the message.
        scale: float32 [1] or [O], the c that the weight was trained towards, in place of ``max|w|``.

    Returns:
        Codes int8 and step float32. A channel (or tensor) of zeros, or whose step would be no normal float32, gets
        codes 0 and step 1.

    Raises:
        ExportError: a weight is NaN or infinite; the message names the layer.

    Source: eq. (5).
    """
    bad = int(weight.size - np.count_nonzero(np.isfinite(weight)))
    if bad:
        raise ExportError(
            "the weight has values that are NaN or infinite",
            where=name,
            got=f"{bad} of {weight.size}",
            wanted="finite numbers",
            remedy="train again with a lower rate or amplitude",
        )
    rows = weight.reshape(weight.shape[0], -1) if per_channel else weight.reshape(1, -1)
    peak = np.abs(rows).max(axis=1, initial=0.0) if scale is None else scale
    step = (peak.astype(np.float64) / grid.steps_in_max).astype(np.float32)
    if grid.power_of_two and scale is None:
        step = power_of_two_steps(rows, step, grid)
    empty = step < np.finfo(np.float32).tiny  # runtimes refuse a scale that is no normal number
    step[empty] = 1.0
    position = rows.astype(np.float64) / step[:, None]
    codes = nearest_code(position, grid)
    codes[empty] = 0
    position[empty] = 0
    distance = float(np.abs(position - codes).mean()) if weight.size else 0.0
    if grid.function == "cosine":  # its points lie two codes apart: one grid step is two code steps
        distance /= 2
    return QuantizedWeight(codes.astype(np.int8).reshape(weight.shape), step, grid, distance)


def power_of_two_steps(rows: NDArray[np.float32], step: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """For each row of weights, the power of two just above its step or the one below that, which clips the largest
    weights: whichever has the smaller squared error.

    Args:
        rows: float32 [R, ...].
        step: float32 [R], ``max|w|`` over the steps that make it up.
        grid: bits and function.
    """
    mantissa, exponent = np.frexp(step)
    upper = np.ldexp(np.float32(1), exponent - (mantissa == 0.5)).astype(np.float32)
    lower = (upper / 2).astype(np.float32)
    errors = []
    for candidate in (upper, lower):
        position = rows.astype(np.float64) / np.where(candidate > 0, candidate, 1)[:, None]
        missed = (position - nearest_code(position, grid)) * candidate[:, None]
        errors.append((missed**2).sum(axis=1))
    chosen: NDArray[np.float32] = np.where(errors[1] < errors[0], lower, upper)
    return np.where(step >= np.finfo(np.float32).tiny, chosen, step).astype(np.float32)


def nearest_code(position: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """The code nearest to a position given in steps; ties go to even, as in torch.round and ONNX QuantizeLinear."""
    nearest = 2 * np.rint((position - 1) / 2) + 1 if grid.function == "cosine" else np.rint(position)
    clipped: NDArray[np.float64] = np.clip(nearest, -grid.qmax, grid.qmax)
    return clipped
