"""The periodic functions of eq. (8) and (9), elementwise: value and closed-form derivative. No weights, no amplitude.

All three have period 1 and a zero a period, the grid point. With ``r`` the signed distance from the nearest grid point,
in steps (-0.5 to 0.5), sine and cosine are ``sin^2(pi r)`` and hat is ``2 |r|``: the functions are written in ``r``, so
that a phase of 127 periods is reduced once, exactly, before a float32 sine is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from edgeq.grid import Function

__all__ = ["FUNCTIONS", "PeriodicFunction"]

KINK: Final = 1e-8  # steps; c f / c is f but for rounding, and the largest weight must not be pushed by that


@dataclass(frozen=True, slots=True)
class PeriodicFunction:
    """One periodic function of the phase ``u = f w / c``.

    Attributes:
        name: as in the recipe.
        offset: phase of a grid point, in steps: 0, or 0.5 for the cosine.
        value_at: value at a distance ``r`` from the nearest grid point, any shape, in steps; 0 to 1.
        derivative_at: derivative by ``u`` at that distance.
        pull_at: how far to go towards the point from that distance at strength ``eta``, in steps, of the distance's
            sign; never past the point where eta is 1 or less. Near the point the sine and cosine go the share eta of
            the distance; the hat goes eta / 2 steps, or the whole distance where that is less.
    """

    name: Function
    offset: float
    value_at: Callable[[Tensor], Tensor]
    derivative_at: Callable[[Tensor], Tensor]
    pull_at: Callable[[Tensor, float], Tensor]

    def residual(self, phase: Tensor) -> Tensor:
        """Signed distance of a phase from the nearest grid point, in steps, -0.5 to 0.5; same shape and dtype."""
        shifted = phase - self.offset
        return shifted - torch.round(shifted)

    def value(self, phase: Tensor) -> Tensor:
        """The function at phase ``u``, any shape; 0 on the grid, 1 midway between two points.

        Its autograd derivative is :meth:`derivative`, but midway between the hat's points, where it takes a side.
        """
        residual = self.residual(phase)
        return self.value_at(torch.where(residual.abs() > KINK, residual, 0.0))

    def derivative(self, phase: Tensor) -> Tensor:
        """The function's derivative by ``u``; the hat's is 0 at its kinks (on the grid and midway), by convention."""
        return self.derivative_at(self.residual(phase))


def _sine_squared(residual: Tensor) -> Tensor:
    return (residual * math.pi).sin_().square_()  # in place: fresh memory costs more than the arithmetic


def _sine_squared_derivative(residual: Tensor) -> Tensor:
    return (residual * (2 * math.pi)).sin_().mul_(math.pi)  # 2 pi sin(pi r) cos(pi r)


def _triangle(residual: Tensor) -> Tensor:
    return residual.abs() * 2


def _triangle_derivative(residual: Tensor) -> Tensor:
    distance = residual.abs()
    return torch.sign(residual) * ((distance > KINK) & (distance < 0.5)) * 2


def _sine_pull(residual: Tensor, eta: float) -> Tensor:
    return (residual * (2 * math.pi)).sin_().mul_(eta / (2 * math.pi))


def _hat_pull(residual: Tensor, eta: float) -> Tensor:
    return residual.clamp(-eta / 2, eta / 2)


FUNCTIONS: Final[Mapping[Function, PeriodicFunction]] = MappingProxyType(
    {
        "sine": PeriodicFunction("sine", 0.0, _sine_squared, _sine_squared_derivative, _sine_pull),
        "cosine": PeriodicFunction("cosine", 0.5, _sine_squared, _sine_squared_derivative, _sine_pull),
        "hat": PeriodicFunction("hat", 0.0, _triangle, _triangle_derivative, _hat_pull),
    }
)
