"""The decoupled form: what a pull does to a weight, the scale it holds, its schedule, and all of it in a training."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeq.errors import ModelError, RecipeError
from edgeq.grid import Function, Grid, quantize_weight
from edgeq.recipe import RegularizerRecipe
from edgeq.regularize import EtaSchedule, PeriodicRegularizer, amplitude_to_eta, eta_to_amplitude
from edgeq.regularize.regularizer import Scale
from edgeq.snap import snap


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 2, groups=2), nn.Linear(7, 5))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    for name in ("0.weight", "1.weight"):
        weight = model.get_parameter(name)
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model


def weight_of(model: nn.Sequential, layer: int = 0) -> torch.Tensor:
    return model.get_parameter(f"{layer}.weight").detach()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("eta", [0.0, 0.01, 0.3, 1.0])
def test_a_sine_pull_is_the_formula(bits: int, eta: float) -> None:
    model = network()
    before = [parameter.detach().double().clone() for parameter in model.parameters()]
    log = PeriodicRegularizer(model, bits=bits).pull(eta)
    frequency = 2 ** (bits - 1) - 1
    for was, now in zip(before, model.parameters(), strict=True):
        if was.dim() < 2:
            assert torch.equal(was, now.double())
            continue
        c = was.abs().max()
        wanted = was - eta * c / (2 * math.pi * frequency) * torch.sin(2 * math.pi * frequency * was / c)
        torch.testing.assert_close(now.double(), wanted, rtol=0, atol=2e-6)
    assert 0.2 < float(log.distance) < 0.3


@pytest.mark.parametrize("function", ["sine", "cosine", "hat"])
@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_some_full_pulls_bring_every_weight_to_a_point(function: Function, scale: Scale) -> None:
    model = network()
    regularizer = PeriodicRegularizer(model, function=function, bits=4, scale=scale)
    regularizer.hold_scale()
    for _ in range(40):
        regularizer.pull(1.0)
    log = regularizer.measure()
    assert float(log.distance) < 1e-5
    assert float(log.share_on_grid) == 1.0


def test_a_pull_never_goes_past_the_point() -> None:
    for function in ("sine", "cosine", "hat"):
        model = network()
        regularizer = PeriodicRegularizer(model, function=function, bits=3)
        regularizer.hold_scale()
        before = float(regularizer.measure().distance)
        for eta in (0.1, 0.5, 1.0):
            regularizer.pull(eta)
            after = float(regularizer.measure().distance)
            assert after < before
            before = after


def test_the_hat_pulls_by_a_fixed_length() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    model[0].weight.data = torch.tensor([[7.0, 2.3, -3.9, 0.52]])
    PeriodicRegularizer(model, function="hat", bits=4).pull(0.2)
    torch.testing.assert_close(weight_of(model), torch.tensor([[7.0, 2.2, -4.0, 0.62]]))


def test_a_held_scale_stays_while_weights_move() -> None:
    model = network()
    regularizer = PeriodicRegularizer(model, bits=4)
    assert regularizer.held_scales == {}
    regularizer.hold_scale()
    c = float(weight_of(model).abs().max())
    model.get_parameter("0.weight").data *= 0.9
    for _ in range(40):
        regularizer.pull(1.0)
    assert float(regularizer.held_scales["0"]) == c
    steps = weight_of(model) / (c / 7)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    assert float(steps.abs().max()) < 7  # max|w| would give another grid
    table = snap(nn.Sequential(model[0]), Grid(4), scales={"0": np.array([c], np.float32)})
    np.testing.assert_array_equal(table["0"].codes, steps.round().to(torch.int8).numpy())
    assert table["0"].distance < 1e-4


@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_a_clipped_scale_is_a_multiple_of_the_mean_and_brings_weights_back(scale: Scale) -> None:
    model = network()
    magnitude = weight_of(model).abs()
    regularizer = PeriodicRegularizer(model, bits=2, scale=scale)
    regularizer.hold_scale(clip=2.0)
    mean = magnitude.mean() if scale == "tensor" else magnitude.mean((1, 2, 3), keepdim=True)
    peak = magnitude.max() if scale == "tensor" else magnitude.amax((1, 2, 3), keepdim=True)
    c = torch.minimum(2 * mean, peak)
    torch.testing.assert_close(regularizer.held_scales["0"], c)
    assert bool((weight_of(model).abs() <= c).all())
    model.get_parameter("0.weight").data *= 5
    regularizer.pull(0.0)
    assert bool((weight_of(model).abs() <= c).all())


def test_held_scales_go_through_a_checkpoint() -> None:
    first, second = (PeriodicRegularizer(network(), bits=3, scale="channel") for _ in range(2))
    first.hold_scale(clip=1.5)
    second.held_scales = {name: scale.clone() for name, scale in first.held_scales.items()}
    assert all(torch.equal(second.held_scales[name], scale) for name, scale in first.held_scales.items())
    with pytest.raises(ModelError, match="layer 2: the held scales are another network's"):
        second.held_scales = {name: scale for name, scale in first.held_scales.items() if name != "2"}
    with pytest.raises(ModelError, match="layer 0: the held scales are another network's"):
        second.held_scales = {name: scale[:2] for name, scale in first.held_scales.items()}
    second.held_scales = {}
    assert second.held_scales == {}


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_has_its_range(eta: float) -> None:
    with pytest.raises(RecipeError, match=r"regularizer.eta: out of range .* wanted 0 to 1"):
        PeriodicRegularizer(network()).pull(eta)


def test_a_layer_of_zeros_and_a_frozen_one_stay() -> None:
    model = network()
    model.get_parameter("0.weight").data.zero_()
    frozen = model.get_parameter("2.weight").requires_grad_(False)
    before = frozen.clone()
    regularizer = PeriodicRegularizer(model, bits=4)
    regularizer.hold_scale(clip=0.1)
    regularizer.pull(1.0)
    assert not weight_of(model).any()
    assert torch.equal(frozen, before)


@given(st.integers(1, 500), st.floats(0.01, 1), st.floats(1e-6, 1), st.floats(1e-6, 1))
def test_eta_is_nothing_and_then_rises_geometrically(steps: int, pull: float, start: float, end: float) -> None:
    schedule = EtaSchedule.from_recipe(RegularizerRecipe(form="decoupled", pull=pull, eta_start=start, eta=end), steps)
    values = [schedule.at(step) for step in range(steps)]
    assert schedule.first == steps - max(1, round(steps * pull))
    assert values[: schedule.first] == [0.0] * schedule.first
    rising = values[schedule.first :]
    assert rising[-1] == pytest.approx(end)
    if len(rising) > 1:
        assert rising[0] == pytest.approx(start)
    ratios = [after / before for before, after in itertools.pairwise(rising)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios) if ratios else [])
    assert schedule.at(steps + 5) == rising[-1]


def test_eta_zero_turns_the_pull_off() -> None:
    schedule = EtaSchedule.from_recipe(RegularizerRecipe(form="decoupled", eta=0.0), 50)
    assert {schedule.at(step) for step in range(50)} == {0.0}


@given(st.floats(1e-8, 1), st.floats(1e-4, 1), st.sampled_from([1, 7, 127]), st.floats(0.01, 10))
def test_amplitude_and_eta_convert_both_ways(amplitude: float, rate: float, frequency: int, scale: float) -> None:
    eta = amplitude_to_eta(amplitude, rate, frequency, scale)
    assert eta_to_amplitude(eta, rate, frequency, scale) == pytest.approx(amplitude)


def test_a_converted_amplitude_moves_a_near_weight_as_far() -> None:
    rate, amplitude, c = 0.1, 1e-5, 0.8
    models = [nn.Sequential(nn.Linear(2, 1, bias=False)) for _ in range(2)]
    for model in models:
        model[0].weight.data = torch.tensor([[c, (5 + 0.02) * c / 127]], dtype=torch.float64)
    through_loss, decoupled = (PeriodicRegularizer(model, bits=8, amplitude=amplitude) for model in models)
    through_loss.add_gradient()
    torch.optim.SGD(models[0].parameters(), lr=rate).step()
    decoupled.pull(amplitude_to_eta(amplitude, rate, 127, c))
    moved = [(5 + 0.02) * c / 127 - float(weight_of(model)[0, 1]) for model in models]
    assert moved[0] == pytest.approx(moved[1], rel=1e-4)


@pytest.mark.parametrize("scale", [None, np.array([2.0], np.float32)])
def test_a_given_scale_makes_the_step(scale: Any) -> None:
    weight = np.array([[1.2, -0.5, 0.1]], np.float32)
    found = quantize_weight(weight, Grid(3), scale=scale)
    assert float(found.step[0]) == pytest.approx((1.2 if scale is None else 2.0) / 3)
    assert found.codes.tolist() == ([[3, -1, 0]] if scale is None else [[2, -1, 0]])
