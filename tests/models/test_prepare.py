from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models import create_model, prepare_network, save_weights
from edgeq.models.prepare import INITIALIZERS
from edgeq.train_recipe import Initialization, TrainRecipe

FAN_IN, FAN_OUT = 16 * 9, 32 * 9


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, 3))


def test_every_initialization_has_a_function() -> None:
    assert {"model", *INITIALIZERS} == set(Initialization.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "std", "largest"),
    [
        ("kaiming-normal", math.sqrt(2 / FAN_IN), None),
        ("kaiming-uniform", math.sqrt(2 / FAN_IN), math.sqrt(6 / FAN_IN)),
        ("xavier-normal", math.sqrt(2 / (FAN_IN + FAN_OUT)), None),
        ("xavier-uniform", math.sqrt(2 / (FAN_IN + FAN_OUT)), math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("truncated-normal", 0.3 * 0.8796, 0.6),  # a normal cut at two deviations has 0.8796 of one
    ],
)
def test_weights_are_drawn_as_their_papers_say(name: Any, std: float, largest: float | None) -> None:
    model = network()
    prepare_network(model, TrainRecipe(initialization=name, initial_std=0.3), num_classes=3, seed=4)
    weight = model.get_parameter("0.weight").detach()
    assert float(weight.std()) == pytest.approx(std, rel=0.05)
    if largest is not None:
        assert 0.98 * largest < float(weight.abs().max()) <= largest
    assert not model.get_parameter("0.bias").any()


def test_orthogonal_rows_and_the_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        model = network()
        before = torch.get_rng_state()
        prepare_network(model, TrainRecipe(initialization="orthogonal"), num_classes=3, seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        weights.append(model.get_parameter("0.weight").detach().flatten(1))
    assert torch.allclose(weights[0] @ weights[0].T, torch.eye(32), atol=1e-5)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_dropout_is_set_where_there_is_some() -> None:
    model = network()
    prepare_network(model, TrainRecipe(dropout=0.4), num_classes=3, seed=0)
    assert model[3].p == 0.4
    with pytest.raises(ModelError, match=r"no dropout layer.*train.dropout = 0.4"):
        prepare_network(nn.Sequential(nn.Linear(2, 2)), TrainRecipe(dropout=0.4), num_classes=2, seed=0)


def test_a_head_for_other_classes_stays_new(tmp_path: Path) -> None:
    def made(classes: int, seed: int) -> nn.Module:
        return create_model("mlp", num_classes=classes, input_shape=(1, 4, 4), seed=seed)

    path = tmp_path / "w.safetensors"
    old, model, fresh = made(10, 1), made(4, 2), made(4, 2)
    save_weights(old, path)
    assert prepare_network(model, TrainRecipe(init=str(path)), num_classes=4, seed=2) == ["fc3.weight", "fc3.bias"]
    assert torch.equal(model.get_parameter("fc1.weight"), old.get_parameter("fc1.weight"))
    assert torch.equal(model.get_parameter("fc3.weight"), fresh.get_parameter("fc3.weight"))
    other = create_model("mlp", num_classes=4, input_shape=(1, 6, 6), seed=0)
    with pytest.raises(ModelError, match=r"fc1.weight has another shape"):
        prepare_network(other, TrainRecipe(init=str(path)), num_classes=4, seed=0)
