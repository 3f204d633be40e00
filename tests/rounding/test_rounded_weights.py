"""Weights of each method of the table: the paper's formula, its gradient, and a snap that changes nothing."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeq.grid import Grid, quantize_weight
from edgeq.rounding.base import Rounding
from edgeq.rounding.binary import glorot_size
from edgeq.rounding.binary_connect import BinaryConnect
from edgeq.rounding.options import RoundingRecipe
from edgeq.rounding.table import METHODS, RoundingMethod
from edgeq.rounding.ttq import TrainedTernary

CODES = {"cosine": {-1, 1}, "sine": {-1, 0, 1}}


def weight(seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(seed)) / 3)


def made(row: RoundingMethod, values: torch.Tensor, bits: int = 0, **options: Any) -> Rounding:
    module, name = row.rounding.split(":")
    kind = getattr(importlib.import_module(f"edgeq.rounding.{module}"), name)
    rounding: Rounding = kind(values, Grid(bits or row.bits[0], row.function), RoundingRecipe(**options))
    return rounding


def gradient(rounding: Rounding, values: nn.Parameter, upstream: torch.Tensor) -> torch.Tensor:
    rounding(values).backward(upstream)
    assert values.grad is not None
    return values.grad


@pytest.mark.parametrize(("name", "bits"), [(row.name, bits) for row in METHODS.values() for bits in row.bits])
def test_the_snap_changes_nothing(name: str, bits: int) -> None:
    row, values = METHODS[name], weight()
    rounding = made(row, values, bits)
    rounded, scale = rounding(values).detach().numpy(), rounding.scale(values).detach().numpy()
    assert scale.dtype == np.float32
    snapped = quantize_weight(rounded, rounding.grid, per_channel=scale.size > 1, scale=scale)
    assert np.array_equal(snapped.values, rounded)
    assert snapped.distance < 1e-5  # of float32 products
    found = set(np.unique(snapped.codes).tolist())
    if row.name == "ttq":
        assert len(found) == 3
        assert 0 in found
    elif bits <= 2 and row.name != "dorefa":
        assert found == CODES[row.function]
    else:
        assert found <= set(range(-(2**bits - 1), 2**bits, 2))


def test_the_size_of_a_binary_weight_is_the_layers_or_the_channels_mean() -> None:
    values = weight()
    given = values.detach().numpy().astype(np.float64)
    rows = np.abs(given).reshape(4, -1).mean(axis=1)
    for name, size in (("bwn", rows[:, None, None, None]), ("xnor-net", rows[:, None, None, None]),
                       ("dorefa", np.abs(given).mean()), ("bnn", (1.5 / ((3 + 4) * 15)) ** 0.5),
                       ("binary-connect", (1.5 / ((3 + 4) * 15)) ** 0.5)):  # fmt: skip
        rounded = made(METHODS[name], values)(values).detach().numpy()
        np.testing.assert_allclose(rounded, np.where(given >= 0, size, -size), rtol=1e-5, err_msg=name)


def test_no_other_scale_of_signs_is_nearer_to_the_weights_than_that_of_bwn() -> None:
    values = weight().detach()
    nearest = made(METHODS["bwn"], values)(values)
    error = (values - nearest).square().flatten(1).sum(1)
    for factor in (0.99, 1.01):
        assert ((values - factor * nearest).square().flatten(1).sum(1) > error).all()


def test_zero_has_the_sign_of_a_positive_weight() -> None:
    values = torch.tensor([[0.0, -0.0, 1.0, -1.0]])
    assert (made(METHODS["bwn"], values)(values).sign() == torch.tensor([[1.0, 1.0, 1.0, -1.0]])).all()


def test_dorefa_of_more_bits_is_the_formula_of_the_paper() -> None:
    values = weight().detach()
    bent = np.tanh(values.numpy().astype(np.float64))
    wanted = 2 * np.rint((bent / (2 * np.abs(bent).max()) + 0.5) * 7) / 7 - 1
    np.testing.assert_allclose(made(METHODS["dorefa"], values, 3)(values).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_twn_keeps_what_is_beyond_its_threshold_at_the_mean_of_that(threshold: float | None) -> None:
    values = weight()
    given = values.detach().numpy().astype(np.float64)
    kept = np.abs(given) > (threshold or 0.7) * np.abs(given).mean()
    wanted = np.sign(given) * kept * np.abs(given[kept]).mean()
    rounded = made(METHODS["twn"], values, threshold=threshold)(values)
    np.testing.assert_allclose(rounded.detach().numpy(), wanted, rtol=1e-5)


def test_ttq_has_a_size_for_each_sign_and_the_smaller_is_off_by_half_a_code_at_most() -> None:
    values = weight()
    given = values.detach().numpy()
    for bits in (8, 4):
        rounding = made(METHODS["ttq"], values, bits)
        assert isinstance(rounding, TrainedTernary)
        with torch.no_grad():
            rounding.positive.fill_(0.3)
            rounding.negative.fill_(-0.121)  # training may turn its sign
        rounded = rounding(values).detach().numpy()
        delta = 0.05 * np.abs(given).max()
        most = 2 ** (bits - 1) - 1
        np.testing.assert_allclose(rounded[given > delta], 0.3, rtol=1e-6)
        np.testing.assert_allclose(rounded[given < -delta], -round(0.121 / 0.3 * most) * 0.3 / most, rtol=1e-6)
        assert np.abs(rounded[given < -delta] + 0.121).max() <= 0.3 / most / 2
        assert (rounded[np.abs(given) <= delta] == 0).all()


def test_gradients_are_those_of_the_papers() -> None:
    upstream = torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
    for name in ("binary-connect", "dorefa", "twn"):  # passed on as they are
        values = weight()
        assert torch.equal(gradient(made(METHODS[name], values), values, upstream), upstream), name
    values = nn.Parameter(weight().detach() * 3)
    bound = glorot_size(values)
    inside = (values.detach().abs() <= bound).float()
    assert 0 < inside.mean() < 1
    assert torch.equal(gradient(made(METHODS["bnn"], values), values, upstream), upstream * inside)
    values = nn.Parameter(weight().detach() * 3)
    alpha = values.detach().abs().flatten(1).mean(1).reshape(-1, 1, 1, 1)
    inside = (values.detach().abs() <= 1).float()
    assert 0 < inside.mean() < 1
    found = gradient(made(METHODS["bwn"], values), values, upstream)
    torch.testing.assert_close(found, upstream * (1 / 45 + alpha * inside))


def test_gradients_of_ttq_are_those_of_the_paper() -> None:
    upstream = torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
    values = weight()
    rounding = made(METHODS["ttq"], values)
    assert isinstance(rounding, TrainedTernary)
    positive, negative = (item.detach() for item in rounding.sizes())
    above, below = values > 0.05 * values.abs().max(), values < -0.05 * values.abs().max()
    found = gradient(rounding, values, upstream)
    torch.testing.assert_close(found, upstream * torch.where(above, positive, torch.where(below, negative, 1.0)))
    assert rounding.positive.grad is not None
    assert rounding.negative.grad is not None
    torch.testing.assert_close(rounding.positive.grad, upstream[above].sum().reshape(1))
    torch.testing.assert_close(rounding.negative.grad, -upstream[below].sum().reshape(1))


def test_the_gradient_of_dorefas_levels_passes_the_rounding() -> None:
    values, soft = weight(), weight()
    upstream = torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
    bent = torch.tanh(soft)
    torch.autograd.backward(bent / bent.abs().max(), upstream)
    torch.testing.assert_close(gradient(made(METHODS["dorefa"], values, 2), values, upstream), soft.grad)


def test_binary_connect_draws_signs_while_it_trains() -> None:
    torch.manual_seed(0)
    values = weight().detach()
    rounding = made(METHODS["binary-connect"], values, stochastic=True)
    assert isinstance(rounding, BinaryConnect)
    size = float(rounding.bound)
    share = torch.stack([(rounding(values) > 0).float() for _ in range(4000)]).mean(0)
    chance = ((values / size + 1) / 2).clamp(0, 1)
    assert (share - chance).abs().max() < 0.05  # six deviations
    assert (share[values.abs() > size] == chance[values.abs() > size]).all()
    rounding.eval()
    assert torch.equal(rounding(values), torch.where(values >= 0, size, -size))


@pytest.mark.parametrize("name", ["binary-connect", "bnn"])
def test_weights_beneath_are_kept_within_their_size(name: str) -> None:
    values = nn.Parameter(weight().detach() * 3)
    rounding = made(METHODS[name], values)
    before = values.detach().clone()
    rounding.project(values)
    bound = glorot_size(values)
    torch.testing.assert_close(values.detach(), before.clamp(-bound, bound))
