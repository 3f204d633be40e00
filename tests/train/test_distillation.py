"""Distillation: the share of the loss that keeps a network near the answers it began with."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import images, state
from torch import nn
from torch.nn import functional

from edgeq.compress import method_from_option
from edgeq.compress.run import train_and_compress
from edgeq.data import normalize
from edgeq.errors import RecipeError
from edgeq.progress import Silent
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train import TrainResult, train

PLAIN = TrainRecipe(
    epochs=1, batch_size=64, momentum=0.0, nesterov=False, weight_decay=0.0, rate_schedule="constant",
    learning_rate=0.1, crop_padding=0, flip=False, precision="fp32", device="cpu", init="weights.safetensors",
)  # fmt: skip


def _recipe(**options: Any) -> Recipe:
    return Recipe(method="post-training", train=dataclasses.replace(PLAIN, **options))


def _network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def _far(model: nn.Module, teacher: nn.Module) -> float:
    with torch.no_grad():
        pixels = normalize(images().train_images)
        found, wanted = (net(pixels).log_softmax(1) for net in (model, teacher))
    return float(functional.kl_div(found, wanted, reduction="batchmean", log_target=True))


def test_a_network_that_is_its_own_teacher_takes_a_share_of_the_step(tmp_path: Path) -> None:
    """Where the answers are still the teacher's, the divergence and its gradient are zero."""
    found = {}
    for share in (0.0, 0.25):
        model, before = _network(), state(_network())
        loss = train(model, images(), _recipe(distillation=share), tmp_path).history[0].loss
        found[share] = loss, {name: value - before[name] for name, value in state(model).items()}
    assert found[0.25][0] == pytest.approx(0.75 * found[0.0][0], rel=1e-5)
    for name, moved in found[0.25][1].items():
        torch.testing.assert_close(moved, 0.75 * found[0.0][1][name], rtol=1e-4, atol=1e-7)


def test_a_network_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    teacher = _network(1)
    with torch.no_grad():
        teacher.get_parameter("3.weight").mul_(5)  # one that is sure of what it says
    before = state(teacher)
    far = {}
    for share in (0.0, 0.9):
        model = _network()
        train(model, images(), _recipe(distillation=share, epochs=20), tmp_path, teacher=teacher)
        far[share] = _far(model, teacher)
    assert far[0.9] < 0.1 * far[0.0]
    assert far[0.9] < _far(_network(), teacher)
    assert all(torch.equal(value, before[name]) for name, value in state(teacher).items())


def test_after_a_compression_the_teacher_is_the_network_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Any] = []

    def listening(model: nn.Module, *args: Any, **options: Any) -> TrainResult:
        taught.append(options["teacher"])
        return train(model, *args, **options)

    monkeypatch.setattr(sys.modules["edgeq.train"], "train", listening)
    model, dense = _network(), state(_network())
    methods = tuple(method_from_option(f"prune-magnitude,sparsity=0.5,steps=2,skip=[],epochs={n}") for n in (0, 1))
    recipe = dataclasses.replace(_recipe(distillation=0.5, epochs=0), compress=methods)
    train_and_compress(model, images(), recipe, tmp_path, resume=False, progress=Silent())
    first, *others = taught
    assert first is None
    assert len(others) == 2
    for teacher in others:
        assert all(torch.equal(value, dense[name]) for name, value in state(teacher).items())
    assert any(not torch.equal(value, dense[name]) for name, value in state(model).items())


@pytest.mark.parametrize(("task", "options"), [("classify", {"init": ""}), ("reconstruct", {}),
                                                ("classify", {"distillation": 1.0})])  # fmt: skip
def test_a_recipe_without_a_teacher_is_refused(task: Any, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"train\.distillation"):
        Recipe(task=task, train=dataclasses.replace(PLAIN, **{"distillation": 0.5, **options}))
