from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgeq.errors import ExportError, RecipeError
from edgeq.grid import Grid, quantize_weight
from edgeq.quantizers import binarize, quantize_asymmetric, quantize_symmetric, ternarize

Quantize = Callable[[Tensor], Tensor]
Quantizer = Callable[[Tensor, int], Tensor]

UNIFORM: list[Quantizer] = [quantize_symmetric, quantize_asymmetric]


def normal(count: int = 20_000, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_binarize_is_minus_one_below_the_threshold_only() -> None:
    weight = torch.tensor([[-1.0, 0.25], [0.2499999, 3.0]])
    assert torch.equal(binarize(weight, 0.25), torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    assert torch.equal(binarize(torch.tensor([0.0, -0.0])), torch.ones(2))


def test_ternarize_is_zero_between_and_on_the_thresholds() -> None:
    weight = torch.tensor([-0.6, -0.5, 0.0, 0.25, 0.3])
    assert torch.equal(ternarize(weight, -0.5, 0.25), torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0]))
    assert set(ternarize(normal(), -0.5, 0.5).tolist()) == {-1.0, 0.0, 1.0}
    assert ternarize(normal(), 0.1, 0.1).abs().sum() == 20_000  # equal thresholds leave zero to hits alone


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_the_number_of_points(bits: int) -> None:
    """Zero counts once in the symmetric form, hence one point fewer."""
    uniform = torch.linspace(-1, 1, 4001)
    assert len(set(quantize_symmetric(uniform, bits).tolist())) == 2**bits - 1
    assert len(set(quantize_asymmetric(uniform + 3, bits).tolist())) == 2**bits


def test_one_bit_asymmetric_keeps_the_two_ends() -> None:
    assert torch.equal(
        quantize_asymmetric(torch.tensor([-1.0, 0.0, 0.5, 2.0]), 1), torch.tensor([-1.0, -1.0, -1.0, 2.0])
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.integers(2, 8),
    st.sampled_from(UNIFORM),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_error_range_and_idempotence(values: list[float], bits: int, quantize: Quantizer, dtype: torch.dtype) -> None:
    weight = torch.tensor(values, dtype=dtype)
    once = quantize(weight, bits)
    assert once.dtype == dtype
    assert once.shape == weight.shape
    exact = weight.double()
    peak = exact.abs().max()
    symmetric = quantize is quantize_symmetric
    extent, steps = (2 * peak, 2**bits - 2) if symmetric else (exact.max() - exact.min(), 2**bits - 1)
    rounding = peak * torch.finfo(dtype).eps
    assert (once.double() - exact).abs().max() <= extent / steps / 2 + rounding
    assert once.double().abs().max() <= peak
    again = quantize(once, bits)
    assert (again.double() - once.double()).abs().max() <= rounding
    if symmetric and peak > 1e-30:
        assert torch.equal(again, once)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_the_symmetric_points_are_the_sine_grids(bits: int, seed: int) -> None:
    weight = normal(seed=seed)
    snapped = quantize_weight(weight.numpy(), Grid(bits))
    frequency = 2 ** (bits - 1) - 1
    codes = torch.round(quantize_symmetric(weight, bits).double() / weight.abs().max().double() * frequency)
    assert torch.equal(codes.to(torch.int8), torch.from_numpy(snapped.codes))


def test_ties_go_to_even() -> None:
    weight = torch.tensor([-7.0, -2.5, -1.5, 0.5, 1.5, 2.5, 7.0])
    assert quantize_symmetric(weight, 4).tolist() == [-7, -2, -2, 0, 2, 2, 7]
    assert quantize_asymmetric(torch.tensor([0.0, 0.5, 1.5, 2.5, 3.0]), 2).tolist() == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("quantize", UNIFORM)
@pytest.mark.parametrize("weight", [torch.zeros(3, 2), torch.full((4,), -0.3), torch.empty(0, 3), torch.tensor(2.0)])
def test_degenerate_tensors_come_back_as_they_are(quantize: Quantizer, weight: Tensor) -> None:
    result = quantize(weight, 4)
    torch.testing.assert_close(result, weight, rtol=0, atol=0)
    assert result.data_ptr() != weight.data_ptr() or not weight.numel()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "quantize",
    [
        binarize,
        lambda w: ternarize(w, 0, 1),
        lambda w: quantize_symmetric(w, 8),
        lambda w: quantize_asymmetric(w, 8),
    ],
)
def test_what_is_not_finite_is_refused(quantize: Quantize, bad: float) -> None:
    with pytest.raises(ExportError, match="1 of 3"):
        quantize(torch.tensor([0.0, bad, 1.0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda w: ternarize(w, 1.0, 0.0),
        lambda w: ternarize(w, math.nan, 0.0),
        lambda w: quantize_symmetric(w, 1),
        lambda w: quantize_asymmetric(w, 0),
        lambda w: quantize_asymmetric(w, 25),
    ],
)
def test_bad_arguments_are_refused(call: Quantize) -> None:
    with pytest.raises(RecipeError):
        call(torch.ones(3))
