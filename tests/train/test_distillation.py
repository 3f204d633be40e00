"""Distillation: the share of the loss that brings a network near a teacher's answers, or keeps it near its own."""

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

from edgeq.artifact import labels_text
from edgeq.compress import method_from_option
from edgeq.compress.run import train_and_compress
from edgeq.data import normalize
from edgeq.errors import FormatError, ModelError, RecipeError
from edgeq.models import create_model, save_weights
from edgeq.progress import Silent
from edgeq.recipe import DataRecipe, Recipe, TrainRecipe, recipe_to_toml
from edgeq.train import TrainResult, train
from edgeq.train.teachers import load_teachers

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


def test_the_distance_is_hintons_at_any_temperature(tmp_path: Path) -> None:
    """One step over all images: its loss, against the definition in float64."""
    data, teacher, model = images(32), _network(1), _network()
    with torch.no_grad():
        teacher.get_parameter("3.weight").mul_(20)  # differences that a temperature tells apart
    wanted = {}
    for temperature in (1.0, 4.0):
        with torch.no_grad():
            logits, answers = (net(normalize(data.train_images)).double() / temperature for net in (model, teacher))
        chances = answers.softmax(1)
        far = (chances * (chances.log() - logits.softmax(1).log())).sum(1).mean()
        plain = functional.cross_entropy(logits * temperature, data.train_labels)
        wanted[temperature] = float(0.25 * plain + 0.75 * temperature**2 * far)
    for temperature, loss in wanted.items():
        recipe = _recipe(distillation=0.75, distillation_temperature=temperature)
        history = train(_network(), data, recipe, tmp_path / f"{temperature}", teacher=teacher).history
        assert history[0].loss == pytest.approx(loss, rel=1e-5)
    assert wanted[4.0] != pytest.approx(wanted[1.0], rel=0.1)


def test_a_teacher_sees_whole_images_where_the_network_sees_smaller_ones(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    class Teacher(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[1:]))
            return x.mean((2, 3))

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    shapes: list[tuple[int, ...]] = []
    model[0].register_forward_pre_hook(lambda layer, inputs: shapes.append(tuple(inputs[0].shape[1:])))
    recipe = _recipe(distillation=0.5, initial_image_size=4, epochs=2)
    train(model, images(), recipe, tmp_path, teacher=Teacher())
    assert (3, 4, 4) in shapes
    assert set(seen) == {(3, 8, 8)}


def _folder(tmp_path: Path, recipe: Recipe | None = None, classes: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """What a build of an ``mlp`` over these images leaves, as far as a teacher needs it."""
    recipe = recipe or Recipe(model="mlp", seed=3, data=DataRecipe(path="photos"))
    save_weights(create_model("mlp", num_classes=3, input_shape=(3, 8, 8), seed=3), tmp_path / "checkpoint.safetensors")
    (tmp_path / "recipe.toml").write_text(recipe_to_toml(recipe))
    (tmp_path / "labels.txt").write_bytes(labels_text(classes))
    return tmp_path


def test_a_teacher_comes_out_of_the_folder_of_a_build(tmp_path: Path) -> None:
    teacher = load_teachers([str(_folder(tmp_path))], images())
    wanted = state(create_model("mlp", num_classes=3, input_shape=(3, 8, 8), seed=3))
    assert not teacher.training
    assert all(torch.equal(value, wanted[name]) for name, value in state(teacher).items())
    (tmp_path / "labels.txt").unlink()  # edgeq train leaves none
    assert state(load_teachers([str(tmp_path)], images())).keys() == wanted.keys()


def test_several_teachers_answer_with_the_mean_of_their_logits(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        network = create_model("mlp", num_classes=3, input_shape=(3, 8, 8), seed=seed)
        save_weights(network, _folder(folder) / "checkpoint.safetensors")
    inputs = normalize(images().train_images)
    first, second, both = (load_teachers([*map(str, names)], images()) for names in (folders[:1], folders[1:], folders))
    with torch.no_grad():
        assert not torch.allclose(first(inputs), second(inputs))
        torch.testing.assert_close(both(inputs), (first(inputs) + second(inputs)) / 2)


def test_a_teacher_stays_as_it_was_where_it_answers_in_bf16(tmp_path: Path) -> None:
    teacher = _network(1)
    before = state(teacher)
    train(_network(), images(), _recipe(distillation=0.5, precision="bf16"), tmp_path, teacher=teacher)
    assert all(value.dtype == torch.float32 for value in teacher.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in state(teacher).items())


def test_what_cannot_teach_is_refused(tmp_path: Path) -> None:
    four = ("a", "b", "c", "d")
    with pytest.raises(RecipeError, match=r"the teacher's classes are others.*wanted a, b, c"):
        load_teachers([str(_folder(tmp_path, classes=("a", "c", "b")))], images())
    with pytest.raises(RecipeError, match="a teacher answers with classes"):
        load_teachers([str(_folder(tmp_path, Recipe(model="mlp", task="reconstruct")))], images())
    with pytest.raises(ModelError, match="has another shape"):
        load_teachers([str(_folder(tmp_path, classes=four))], dataclasses.replace(images(), classes=four))
    (_folder(tmp_path) / "checkpoint.safetensors").unlink()
    with pytest.raises(FormatError, match=r"not the folder of an edgeq build or training .*checkpoint\.safetensors"):
        load_teachers([str(tmp_path)], images())
    with pytest.raises(RecipeError, match=r"train\.teachers: .*give train\.distillation"):
        TrainRecipe(teachers=("out/wide",))


def test_a_teacher_of_ones_own_choice_stays_through_compressions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[float, Any]] = []

    def listening(model: nn.Module, data: Any, recipe: Recipe, *args: Any, **options: Any) -> TrainResult:
        taught.append((recipe.train.distillation, options["teacher"]))
        return train(model, data, recipe, *args, **options)

    monkeypatch.setattr(sys.modules["edgeq.train"], "train", listening)
    methods = (method_from_option("prune-magnitude,sparsity=0.5,skip=[],epochs=1"),)
    recipe = _recipe(distillation=0.5, teachers=("out/wide",), init="")
    recipe, teacher = dataclasses.replace(recipe, compress=methods), _network(1)
    train_and_compress(_network(), images(), recipe, tmp_path, resume=False, progress=Silent(), teacher=teacher)
    assert taught == [(0.5, teacher), (0.5, teacher)]


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
