from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgeq.grid import Function
from edgeq.regularize import FUNCTIONS

PHASE = torch.linspace(-9, 9, 3601, dtype=torch.float64)

# Eq. (8) and (9) as printed, over the phase u = f w / c.
PRINTED: dict[Function, Callable[[Tensor], Tensor]] = {
    "sine": lambda u: torch.sin(math.pi * u) ** 2,
    "cosine": lambda u: torch.cos(math.pi * u) ** 2,
    "hat": lambda u: 1 - (2 * (u - torch.floor(u)) - 1).abs(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_the_printed_formulas(name: Function) -> None:
    torch.testing.assert_close(FUNCTIONS[name].value(PHASE), PRINTED[name](PHASE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_is_autograds_off_the_kinks(name: Function) -> None:
    phase = (PHASE + 0.0017).requires_grad_()
    torch.autograd.backward(PRINTED[name](phase).sum())
    torch.testing.assert_close(FUNCTIONS[name].derivative(phase.detach()), phase.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_zeros_lie_a_period_apart_and_the_slope_vanishes_there_and_midway(name: Function) -> None:
    function = FUNCTIONS[name]
    points = torch.arange(-8, 9, dtype=torch.float64) + function.offset
    for phase, value in ((points, 0.0), (points + 0.5, 1.0)):
        torch.testing.assert_close(function.value(phase), torch.full_like(phase, value), rtol=0, atol=1e-12)
        torch.testing.assert_close(function.derivative(phase), torch.zeros_like(phase), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_row_is_under_its_own_name(name: Function) -> None:
    assert FUNCTIONS[name].name == name


@pytest.mark.parametrize("frequency", [1, 3, 7, 127])
def test_hat_is_the_papers_snippet_where_the_frequency_is_odd(frequency: int) -> None:
    ratio = torch.linspace(-1, 1, 999, dtype=torch.float64)
    snippet = ((((ratio - 0.5) * frequency) % 1) * 2 - 1).abs()
    torch.testing.assert_close(FUNCTIONS["hat"].value(ratio * frequency), snippet, rtol=0, atol=1e-10)
