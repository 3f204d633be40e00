"""The paper's quantizers, eq. (3)-(6), as torch functions from weights to weights. Codes and steps are edgeq.grid's.

All work in float64 and return the input's dtype and shape; ties go to even, as in torch.round and ONNX QuantizeLinear.
Nothing here has a gradient: they are applied to a trained weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import ExportError, RecipeError
from edgeq.grid import bits_to_frequency

__all__ = ["binarize", "quantize_asymmetric", "quantize_symmetric", "ternarize"]


def binarize(weight: Tensor, threshold: float = 0.0) -> Tensor:
    """-1 below the threshold, +1 elsewhere.

    Args:
        weight: float, any shape.
        threshold: t.

    Raises:
        ExportError: a weight is NaN or infinite.

    Source: eq. (3).
    """
    values = _finite(weight)
    return torch.where(values < threshold, -1.0, 1.0).to(weight.dtype)


def ternarize(weight: Tensor, low: float, high: float) -> Tensor:
    """-1 below ``low``, +1 above ``high``, 0 between them and on them.

    Args:
        weight: float, any shape.
        low: t1.
        high: t2, at least ``low``.

    Raises:
        RecipeError: ``low`` is above ``high``, or one of them is NaN.
        ExportError: a weight is NaN or infinite.

    Source: eq. (4).
    """
    if not low <= high:
        raise RecipeError("thresholds out of order", where="ternarize", got=f"{low}, {high}", wanted="low <= high")
    values = _finite(weight)
    return ((values > high).double() - (values < low).double()).to(weight.dtype)


def quantize_symmetric(weight: Tensor, bits: int) -> Tensor:
    """Uniform on [-c, c], c = max|w|: round(m w) / m with m = (2^(b-1) - 1) / c; at most 2^b - 1 points, one of them 0.

    The largest weight is a point, so the result has the same range, and quantizing it again changes nothing. The error
    is half a step, c / (2^b - 2), at most. These are the sine's and the hat's grid points.

    Args:
        weight: float, any shape; of zeros, or empty, it is returned as it is.
        bits: 2 to 24.

    Raises:
        RecipeError: the bits are out of range.
        ExportError: a weight is NaN or infinite.

    Source: eq. (5).
    """
    _check_bits(bits, least=2)
    values = _finite(weight)
    peak = values.abs().amax() if values.numel() else values.new_zeros(())
    if not peak > 0:
        return weight.detach().clone()
    frequency = bits_to_frequency(bits)
    return (torch.round(values / peak * frequency) / frequency * peak).to(weight.dtype)


def quantize_asymmetric(weight: Tensor, bits: int) -> Tensor:
    """Uniform on [lo, hi]: round(m (w - lo)) / m + lo with m = (2^b - 1) / (hi - lo); at most 2^b points.

    ``lo`` and ``hi`` are the smallest and the largest weight; both are points, zero need not be one. The error is half
    a step, (hi - lo) / (2^(b+1) - 2), at most.

    Args:
        weight: float, any shape; of one value everywhere, or empty, it is returned as it is.
        bits: 1 to 24.

    Raises:
        RecipeError: the bits are out of range.
        ExportError: a weight is NaN or infinite.

    Source: eq. (6).
    """
    _check_bits(bits, least=1)
    values = _finite(weight)
    if not values.numel():
        return weight.detach().clone()
    low, high = torch.aminmax(values)
    if not high > low:
        return weight.detach().clone()
    steps = 2**bits - 1
    position = torch.round((values - low) / (high - low) * steps)
    return torch.lerp(low, high, position / steps).to(weight.dtype)


def _check_bits(bits: int, *, least: int) -> None:
    if not least <= bits <= 24:
        raise RecipeError("out of range", where="bits", got=bits, wanted=f"{least} to 24")


def _finite(weight: Tensor) -> Tensor:
    values = weight.detach().double()
    bad = int(values.numel() - torch.isfinite(values).sum())
    if bad:
        raise ExportError(
            "the weight has values that are NaN or infinite",
            where="weight",
            got=f"{bad} of {values.numel()}",
            wanted="finite numbers",
            remedy="train again with a lower rate or amplitude",
        )
    return values
