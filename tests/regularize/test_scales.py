"""Learned scales and weights beneath: compared with autograd, and with what a pull leads to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from edgeq.errors import ModelError, RecipeError
from edgeq.grid import Function
from edgeq.regularize import PeriodicRegularizer
from edgeq.regularizer_recipe import RegularizerRecipe

LAYER = 24


def layer(seed: int = 0) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 4, bias=False))
    model[0].weight.data = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    return model


def upstream() -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(9))


FEW = [("sine", 2), ("sine", 3), ("sine", 4), ("cosine", 1), ("cosine", 2), ("cosine", 3), ("cosine", 4)]


@pytest.mark.parametrize(("function", "bits"), FEW)
def test_a_clip_that_is_left_out_rounds_weights_with_long_tails_about_as_well_as_any(
    function: Function, bits: int
) -> None:
    def error(clip: float | None) -> float:
        model = nn.Sequential(nn.Linear(64, 64))
        weight = model.get_parameter("0.weight")
        weight.data = torch.from_numpy(np.random.default_rng(0).standard_t(6, (64, 64)))
        before = weight.detach().clone()
        regularizer = PeriodicRegularizer(model, function=function, bits=bits)
        regularizer.hold_scale(clip)
        regularizer.place(1.0)
        return float((weight.detach() - before).square().mean())

    found = error(RegularizerRecipe(function=function).clip_for(bits))
    assert found < 0.7 * error(None)
    assert found < 1.25 * min(error(tenths / 10) for tenths in range(10, 80, 2))


@pytest.mark.parametrize("bits", [2, 4])
def test_a_scale_goes_down_the_gradient_and_takes_the_weights_on_the_grid_along(bits: int) -> None:
    model = layer()
    weight = model.get_parameter("0.weight")
    regularizer = PeriodicRegularizer(model, bits=bits)
    regularizer.hold_scale(1.5)
    for _ in range(40):
        regularizer.pull(1.0)
    frequency = 2 ** (bits - 1) - 1
    c = regularizer.held_scales["0"].clone().requires_grad_()
    codes = torch.round(weight.detach() / c.detach() * frequency)
    (slope,) = torch.autograd.grad((upstream() * c * codes / frequency).sum(), c)  # dL/dc with w = c k / f
    weight.grad = upstream()
    rate = 1e-3
    regularizer.learn_scale(rate)
    # the step s = c / f has the gradient f dL/dc, times 1 / sqrt(weights * f)
    wanted = c.detach() - rate * frequency * frequency * slope / math.sqrt(LAYER * frequency)
    torch.testing.assert_close(regularizer.held_scales["0"], wanted, rtol=1e-4, atol=0)
    torch.testing.assert_close(weight.detach(), wanted * codes / frequency, rtol=1e-4, atol=1e-5)


def test_a_latent_weight_and_its_scale_have_the_gradients_of_lsq() -> None:
    from edgeq.grid import Grid
    from edgeq.rounding.learned_step import LearnedStep

    model = layer()
    weight = model.get_parameter("0.weight")
    regularizer = PeriodicRegularizer(model, bits=3)
    regularizer.hold_scale(1.2)
    weight.data *= 1.5  # as the optimizer may
    regularizer.learn_scale(0.0)
    regularizer.place(1.0)
    beneath = regularizer.weights_beneath["0"].clone().requires_grad_()
    c = regularizer.held_scales["0"].clone()
    beyond = beneath.abs() > c
    assert 0 < int(beyond.sum()) < LAYER
    rounding = LearnedStep(beneath, Grid(3), per_channel=False)
    with torch.no_grad():
        rounding.step.fill_(float(c) / 3)
    rounded = rounding(beneath)
    torch.testing.assert_close(rounded.detach(), weight.detach(), rtol=1e-4, atol=1e-5)
    rounded.backward(upstream())
    assert rounding.step.grad is not None
    assert beneath.grad is not None
    weight.grad = upstream()
    regularizer.learn_scale(1e-3)
    wanted = c / 3 - 1e-3 * rounding.step.grad[0]
    torch.testing.assert_close(regularizer.held_scales["0"] / 3, wanted, rtol=1e-4, atol=0)
    torch.testing.assert_close(weight.grad, beneath.grad)
    assert torch.equal(regularizer.weights_beneath["0"], beneath)


def test_weights_beyond_a_learned_scale_wait_for_it_and_those_beyond_a_held_one_come_back() -> None:
    model = layer()
    weight = model.get_parameter("0.weight")
    regularizer = PeriodicRegularizer(model, bits=2)
    regularizer.hold_scale(2.0)
    weight.data *= 3
    before = weight.detach().clone()
    regularizer.place(1.0)
    regularizer.take_back()
    assert float(weight.detach().abs().max()) == pytest.approx(float(regularizer.held_scales["0"]))
    weight.data.copy_(before)
    regularizer.learn_scale(0.0)
    regularizer.place(1.0)
    assert float(weight.detach().abs().max()) == pytest.approx(float(regularizer.held_scales["0"]))
    regularizer.take_back()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("function", ["sine", "cosine", "hat"])
@pytest.mark.parametrize("eta", [0.1, 0.9, 1.0])
def test_pulled_copies_lie_between_the_weights_beneath_and_their_points(function: Function, eta: float) -> None:
    model = layer()
    weight = model.get_parameter("0.weight")
    regularizer = PeriodicRegularizer(model, function=function, bits=3)
    regularizer.hold_scale(2.0)
    before = weight.detach().clone()
    regularizer.place(eta)
    pulled, distance = weight.detach().clone(), float(regularizer.measure().distance)
    assert distance < 1e-5 or eta < 1
    regularizer.take_back()
    assert torch.equal(weight, before)
    assert distance < float(regularizer.measure().distance)
    assert regularizer.weights_beneath == {}
    for _ in range(60):
        regularizer.pull(1.0)
    points = weight.detach()
    assert bool(((pulled - before) * (points - before) >= -1e-6).all())
    assert bool(((pulled - before).abs() <= (points - before).abs() + 1e-5).all())


def test_weights_beneath_go_through_a_checkpoint() -> None:
    first, second = PeriodicRegularizer(layer(), bits=2), PeriodicRegularizer(layer(1), bits=2)
    first.hold_scale(2.0)
    first.place(1.0)
    second.weights_beneath = first.weights_beneath
    second.take_back()
    first.take_back()
    assert float(second.measure().distance) == float(first.measure().distance)
    with pytest.raises(ModelError, match="another network's"):
        second.weights_beneath = {"0": torch.zeros(2)}


def test_a_strength_out_of_range_moves_nothing() -> None:
    model = layer()
    before = model.get_parameter("0.weight").detach().clone()
    regularizer = PeriodicRegularizer(model, bits=2)
    with pytest.raises(RecipeError, match="eta"):
        regularizer.place(1.5)
    assert torch.equal(model.get_parameter("0.weight"), before)
    assert regularizer.weights_beneath == {}


def test_a_layer_of_zeros_keeps_its_scale() -> None:
    model = layer()
    weight = model.get_parameter("0.weight")
    weight.data.zero_()
    weight.grad = upstream()
    regularizer = PeriodicRegularizer(model, bits=2, scale="channel")
    regularizer.hold_scale(2.0)
    regularizer.learn_scale(0.1)
    assert not regularizer.held_scales["0"].any()
    assert not weight.any()
