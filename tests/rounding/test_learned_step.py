from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import Watch, images, network
from torch import nn

from edgeq.errors import ModelError
from edgeq.grid import Function, Grid
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.regularize.regularizer import Scale
from edgeq.rounding.attach import put_rounding_on
from edgeq.rounding.base import take_rounding_off
from edgeq.rounding.learned_step import LearnedStep
from edgeq.snap import snap
from edgeq.train import TrainResult, train
from edgeq.train.batch_norm import reestimate_batch_norm

RECIPE = Recipe(
    model="tiny",
    bits=4,
    method="straight-through",
    train=TrainRecipe(epochs=2, batch_size=16, crop_padding=1, flip=True, learning_rate=0.01, device="cpu"),
)


@pytest.mark.parametrize("function", ["sine", "cosine"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_forward_pass_is_on_the_grid(function: Function, per_channel: bool) -> None:
    grid = Grid(3, function)
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    rounding = LearnedStep(weight, grid, per_channel)
    codes = rounding(weight).detach() / rounding.positive_step().detach().reshape(-1, 1, 1, 1)
    assert rounding.step.shape == ((4,) if per_channel else (1,))
    wanted = {-3, -2, -1, 0, 1, 2, 3} if function == "sine" else {-7, -5, -3, -1, 1, 3, 5, 7}
    assert torch.allclose(codes, codes.round(), atol=1e-5)
    assert set(codes.round().int().unique().tolist()) <= wanted
    assert (rounding(weight).detach() - weight).abs().max() < weight.abs().max()


def test_gradients_are_those_of_the_paper() -> None:
    """Eq. 3: inside the range the rounding error, outside the end's code, times the share of section 2.2."""
    grid = Grid(3)  # qmax 3
    weight = nn.Parameter(torch.tensor([[0.26, -0.1, 5.0, -7.0]]))
    rounding = LearnedStep(weight, grid, per_channel=False)
    with torch.no_grad():
        rounding.step.fill_(0.5)
    upstream = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    rounding(weight).backward(upstream)
    share = 1 / np.sqrt(4 * 3)
    inside = (1 - 0.26 / 0.5) * 1 + (0 - -0.1 / 0.5) * 10
    assert rounding.step.grad is not None
    assert weight.grad is not None
    assert rounding.step.grad.item() == pytest.approx(share * (inside + 3 * 100 - 3 * 1000), rel=1e-5)
    assert weight.grad.tolist() == [[1.0, 10.0, 0.0, 0.0]]


def test_layers_that_share_a_weight_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ModelError, match="share a weight"):
        put_rounding_on(model, RECIPE)


def run(folder: Path, recipe: Recipe, *, resume: bool = False) -> tuple[nn.Module, TrainResult]:
    model = network()
    return model, train(model, images(), recipe, folder, resume=resume)


@pytest.mark.parametrize("scale", ["tensor", "channel"])
def test_the_snap_changes_nothing(tmp_path: Path, scale: Scale) -> None:
    recipe = dataclasses.replace(RECIPE, regularizer=dataclasses.replace(RECIPE.regularizer, scale=scale))
    model, result = run(tmp_path, recipe)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert set(before) == set(network().state_dict())
    assert not torch.equal(before["0.weight"], network().state_dict()["0.weight"])
    table = snap(model, recipe.grid, per_channel=scale == "channel", scales=result.scales)
    for name, weight in table.items():
        assert weight.distance < 1e-4
        np.testing.assert_allclose(weight.values, before[f"{name}.weight"].numpy(), rtol=1e-6)


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", RECIPE)

    def stop(step: int) -> None:
        if step == 4:  # in the second epoch of three batches
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), RECIPE, tmp_path / "cut", progress=Watch(stop))
    resumed, result = run(tmp_path / "cut", RECIPE, resume=True)
    again, finished = run(tmp_path / "cut", RECIPE, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(value, again.state_dict()[name]), name
    assert all(np.array_equal(result.scales[name], finished.scales[name]) for name in result.scales)


def test_a_failed_start_leaves_a_plain_network(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(Exception, match="no checkpoint"):
        train(model, images(), RECIPE, tmp_path, resume=True)
    assert set(model.state_dict()) == set(network().state_dict())


def test_post_training_is_a_training_without_a_pull(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, method="post-training")
    model, result = run(tmp_path, recipe)
    plain, _ = run(tmp_path / "plain", dataclasses.replace(recipe, bits=8))
    assert result.history[-1].amplitude == 0
    assert torch.equal(model.state_dict()["0.weight"], plain.state_dict()["0.weight"])  # whatever the bits


def test_taking_off_what_was_never_put_on() -> None:
    assert take_rounding_off(network()) == {}


def test_batch_norm_statistics_are_those_of_the_images() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.9))
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm2d)
    values = np.random.default_rng(0).normal(3, 2, (600, 3, 4, 4)).astype(np.float32)
    with torch.no_grad():
        seen = model[0](torch.from_numpy(values))
    reestimate_batch_norm(model, values)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_var, seen.var((0, 2, 3)), rtol=0.02, atol=0)
    assert norm.momentum == 0.1
    assert not norm.training
