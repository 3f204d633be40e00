from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeq.recipe import TrainRecipe
from edgeq.train.optimizer import make_optimizer, make_rate_schedule, rate_factor

RateSchedule = Literal["cosine", "onecycle"]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_weights_decay(name: Literal["sgd", "adamw"]) -> None:
    model = network()
    model[1].weight.requires_grad_(False)
    optimizer = make_optimizer(model, TrainRecipe(optimizer=name, weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {id(p): 0.3 if p.dim() > 1 else 0.0 for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_nesterovs(momentum: float) -> None:
    """Against the formula: v = mu v + g, w = w - lr (g + mu v)."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, TrainRecipe(momentum=momentum, weight_decay=0.0, learning_rate=0.1))
    weight, velocity = layer.weight.item(), 0.0
    for gradient in (1.0, -2.0, 0.5):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        velocity = momentum * velocity + gradient
        weight -= 0.1 * (gradient + momentum * velocity)
        assert layer.weight.item() == pytest.approx(weight, abs=1e-6)


@given(st.integers(1, 500), st.sampled_from(["cosine", "onecycle"]), st.floats(0.01, 0.99))
def test_the_rate_peaks_once_and_falls_to_zero(
    steps: int, schedule: Literal["cosine", "onecycle"], warmup: float
) -> None:
    recipe = TrainRecipe(rate_schedule=schedule, warmup=warmup)
    factors = [rate_factor(step, steps, recipe) for step in range(steps + 1)]
    peak = factors.index(max(factors))
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert 0 < max(factors) <= 1
    assert min(factors[:-1]) > 0
    if round(warmup * steps) < steps:
        assert factors[-1] == pytest.approx(0, abs=1e-12)
        assert max(factors) == pytest.approx(1)


def test_the_schedule_multiplies_the_recipes_rate() -> None:
    recipe = TrainRecipe(learning_rate=0.4, rate_schedule="cosine")
    optimizer = make_optimizer(network(), recipe)
    schedule = make_rate_schedule(optimizer, recipe, 4)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.4, 0.4 * 0.8535534, 0.2, 0.4 * 0.1464466])
