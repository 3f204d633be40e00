from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import Watch, assert_equal_states, images, interrupt_at, network, state, timeless
from torch import nn

from edgeq.errors import FormatError, ModelError, RecipeError
from edgeq.grid import Grid
from edgeq.recipe import Recipe, RegularizerRecipe, TrainRecipe
from edgeq.snap import snap
from edgeq.train import TrainResult, train
from edgeq.train.checkpoint import write_checkpoint
from edgeq.train.loop import CHECKPOINT

EPOCHS, BATCHES = 4, 3
RECIPE = Recipe(
    model="tiny",
    bits=4,
    seed=5,
    train=TrainRecipe(epochs=EPOCHS, batch_size=16, crop_padding=1, flip=True, learning_rate=0.05, device="cpu"),
    regularizer=RegularizerRecipe(amplitude=1e-4, factor=3.0, every=1, stages=(6, 5)),
)


def changed(**parts: Any) -> Recipe:
    """RECIPE with other values: train=..., regularizer=... as dicts, the rest as they are."""
    for name in ("train", "regularizer"):
        if name in parts:
            parts[name] = dataclasses.replace(getattr(RECIPE, name), **parts[name])
    return dataclasses.replace(RECIPE, **parts)


Straight = tuple[nn.Sequential, TrainResult, Path, Watch]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """A training in one go: its network, result and folder."""
    folder, model = tmp_path_factory.mktemp("straight"), network()
    watch = Watch()
    return model, train(model, images(), RECIPE, folder, progress=watch), folder, watch


def checkpoint_of(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)
    return checkpoint


def test_the_result_says_what_happened(straight: Straight) -> None:
    model, result, _folder, watch = straight
    assert isinstance(result, TrainResult)
    assert [log.epoch for log in result.history] == list(range(EPOCHS))
    assert [log.amplitude for log in result.history] == pytest.approx([1e-4 / 27, 1e-4 / 9, 1e-4 / 3, 1e-4])
    assert [log.frequency for log in result.history] == [31, 15, 7, 7]
    assert result.history[-1].test_accuracy == result.test_accuracy
    assert result.history[-1].loss < result.history[0].loss
    assert all(0 <= log.distance <= 0.5 and 0 <= log.share_on_grid <= 1 for log in result.history)
    assert result.images_per_second > 0
    assert result.device == "cpu"
    assert (watch.steps, watch.total) == (EPOCHS * BATCHES, EPOCHS * BATCHES)
    assert len(watch.notes) == EPOCHS
    assert not model.training
    assert all(p.device.type == "cpu" and p.is_contiguous() and p.grad is None for p in model.parameters())


def test_the_last_distance_is_that_of_the_returned_weights(straight: Straight) -> None:
    from edgeq.regularize import PeriodicRegularizer

    model, result, _folder, _watch = straight
    log = PeriodicRegularizer(model, bits=4).measure()
    assert float(log.distance) == pytest.approx(result.history[-1].distance, abs=1e-7)


def test_equal_seeds_give_equal_weights_whatever_the_callers_random_state(straight: Straight, tmp_path: Path) -> None:
    torch.manual_seed(99)
    model = network()
    result = train(model, images(), RECIPE, tmp_path)
    assert_equal_states(state(model), state(straight[0]))
    assert timeless(result.history) == timeless(straight[1].history)
    other = network()
    train(other, images(), changed(seed=6), tmp_path)
    assert not torch.equal(other.get_parameter("0.weight"), model.get_parameter("0.weight"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "adamw"},
        {"precision": "fp32", "rate_schedule": "cosine"},
        {"cutout": 3, "label_smoothing": 0.1},
        {"distillation": 0.5, "init": "weights.safetensors"},
    ],
)
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    recipe = changed(train=options)
    whole = network()
    expected = train(whole, images(), recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), recipe, tmp_path / "parts", progress=interrupt_at(2 * BATCHES + 1))
    assert len(checkpoint_of(tmp_path / "parts")["edgeq"]["history"]) == 2
    model, watch = network(), Watch()
    result = train(model, images(), recipe, tmp_path / "parts", resume=True, progress=watch)
    assert watch.steps == EPOCHS * BATCHES
    assert_equal_states(state(model), state(whole))
    assert timeless(result.history) == timeless(expected.history)
    got, wanted = checkpoint_of(tmp_path / "parts"), checkpoint_of(tmp_path / "whole")
    assert got["lr_schedulers"] == wanted["lr_schedulers"]
    for index, entry in wanted["optimizer_states"][0]["state"].items():
        for name, value in entry.items():
            assert torch.equal(got["optimizer_states"][0]["state"][index][name], value)


def test_an_interrupt_leaves_no_trace_but_the_checkpoint(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), RECIPE, tmp_path, progress=interrupt_at(BATCHES + 1))
    assert signal.getsignal(signal.SIGINT) is before
    assert [path.name for path in (tmp_path / CHECKPOINT).parent.iterdir()] == ["last.ckpt"]
    assert len(checkpoint_of(tmp_path)["edgeq"]["history"]) == 1


def test_a_real_signal_interrupts(tmp_path: Path) -> None:
    watch = Watch(lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 2 else None)
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), RECIPE, tmp_path, progress=watch)


def test_a_finished_training_resumed_is_returned(straight: Straight, tmp_path: Path) -> None:
    trained, result, folder, _watch = straight
    model, watch = network(), Watch()
    again = train(model, images(), RECIPE, folder, resume=True, progress=watch)
    assert watch.steps == 0
    assert again == result
    assert_equal_states(state(model), state(trained))
    assert not model.training


def test_the_callers_process_is_left_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = network()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    flags = (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), dict(os.environ))
    levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
    train(model, images(), changed(train={"epochs": 1}), tmp_path)
    assert torch.equal(torch.rand(4), expected)
    assert flags == (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), dict(os.environ))
    assert levels == [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
    assert capfd.readouterr() == ("", "")


def test_the_folder_holds_logs_and_checkpoint_without_its_own_path(straight: Straight) -> None:
    folder = straight[2]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).parts[0] for path in files} == {"logs", "checkpoints"}
    assert not [path for path in files if str(folder).encode() in path.read_bytes()]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_diverged_training_says_where_and_keeps_the_checkpoint(tmp_path: Path, poison: float) -> None:
    model = network()

    def at(step: int) -> None:
        if step == BATCHES + 1:
            model.get_parameter("0.weight").data.fill_(poison)

    with pytest.raises(ModelError, match=r"epoch 2, step 2 of 3: training diverged.*lower --amplitude"):
        train(model, images(), RECIPE, tmp_path, progress=Watch(at))
    assert len(checkpoint_of(tmp_path)["edgeq"]["history"]) == 1
    assert not model.training


def test_weights_broken_by_the_very_last_step_are_noticed(tmp_path: Path) -> None:
    model = network()

    def at(step: int) -> None:
        if step == EPOCHS * BATCHES:
            model.get_parameter("0.weight").data.fill_(float("nan"))

    with pytest.raises(ModelError, match=r"epoch 4, step 3 of 3.*weights"):
        train(model, images(), RECIPE, tmp_path, progress=Watch(at))


def test_a_checkpoint_that_cannot_be_written_is_told_and_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint({"epoch": 1}, path)
    with pytest.raises(ModelError, match="cannot be written"):
        write_checkpoint({"epoch": 2}, path / "below a file")
    with pytest.raises(TypeError):  # half-way through
        write_checkpoint({"epoch": 2, "unpicklable": threading.Lock()}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_resume_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no checkpoint"):
        train(network(), images(), RECIPE, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        (changed(bits=3), "bits"),
        (changed(seed=6), "seed"),
        (changed(model="other"), "model"),
        (changed(train={"batch_size": 8}), "train.batch_size"),
        (changed(train={"epochs": 9}), "train.epochs"),
        (changed(regularizer={"amplitude": 0.5}), "regularizer.amplitude"),
    ],
)
def test_resume_with_another_recipe_names_the_key(straight: Straight, recipe: Recipe, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"made with another {key} \(got .*, wanted .*\)"):
        train(network(), images(), recipe, straight[2], resume=True)


def test_resume_with_other_data_or_another_network_is_refused(straight: Straight) -> None:
    with pytest.raises(RecipeError, match=r"another data\.sha256"):
        train(network(), images(seed=1), RECIPE, straight[2], resume=True)
    with pytest.raises(ModelError, match=r"another network.*0\.weight float32 \[6, 3, 3, 3\]"):
        train(network(width=7), images(), RECIPE, straight[2], resume=True)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_hostile_checkpoint_runs_nothing(straight: Straight, tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.parent.mkdir()
    for save in (torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))):
        save({**checkpoint_of(straight[2]), "callbacks": Hostile(tmp_path / "made")}, path)
        with pytest.raises(FormatError) as error:
            train(network(), images(), RECIPE, tmp_path, resume=True)
        assert "\n" not in str(error.value)
        assert "--resume" in str(error.value)
        assert not (tmp_path / "made").exists()


def damaged(content: bytes, checkpoint: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Files that are not whole checkpoints, by name."""
    yield "empty", b""
    yield "truncated", content[: len(content) // 2]
    yield "text", b"not a checkpoint\n" * 50
    yield from (
        ("list", [1, 2]),
        ("foreign", {"state_dict": {}}),
        ("history", {**checkpoint, "edgeq": {**checkpoint["edgeq"], "history": [{"epoch": 0}]}}),
        ("loops", {**checkpoint, "loops": {"fit_loop": 3}}),
        ("optimizer", {**checkpoint, "optimizer_states": [{"state": 1}]}),
    )


@pytest.mark.parametrize("kind", ["empty", "truncated", "text", "list", "foreign", "history", "loops", "optimizer"])
def test_a_damaged_checkpoint_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), RECIPE, tmp_path, progress=interrupt_at(BATCHES + 1))
    path = tmp_path / CHECKPOINT
    value = dict(damaged(path.read_bytes(), checkpoint_of(tmp_path)))[kind]
    if isinstance(value, bytes):
        path.write_bytes(value)
    else:
        torch.save(value, path)
    with pytest.raises(FormatError) as error:
        train(network(), images(), RECIPE, tmp_path, resume=True)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_training_without_the_term(tmp_path: Path) -> None:
    result = train(network(), images(), changed(regularizer={"amplitude": 0.0}, train={"epochs": 2}), tmp_path)
    assert result.history[-1].value == 0.0


def test_smoothed_labels_keep_scores_apart_from_certainty(tmp_path: Path) -> None:
    steep = {"epochs": 30, "crop_padding": 0, "flip": False}
    sure, smooth = network(), network()
    train(sure, images(), changed(train=steep), tmp_path / "sure")
    train(smooth, images(), changed(train=steep | {"label_smoothing": 0.5}), tmp_path / "smooth")
    inputs = images().train_images.float() / 128 - 1
    confidence = [model(inputs).softmax(1).amax(1).mean().item() for model in (sure, smooth)]
    assert confidence[1] < confidence[0] - 0.05


def test_lightning_is_not_imported_before_training() -> None:
    code = "import sys; from edgeq.train import train; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


DECOUPLED: dict[str, Any] = {
    "form": "decoupled",
    "amplitude": None,
    "pull": 0.5,
    "settle": 0.0,
    "eta_start": 0.05,
    "stages": (),
}
LATENT: dict[str, Any] = {**DECOUPLED, "form": "latent", "settle": 0.5}
PULLED: list[dict[str, Any]] = [
    DECOUPLED,
    DECOUPLED | {"scale_update": "learned", "scale": "channel"},
    DECOUPLED | {"stages": (4,), "pull": 1.0},
    LATENT,
    LATENT | {"function": "cosine", "scale_update": "learned"},
    LATENT | {"function": "hat", "scale_update": "learned", "scale": "channel", "stages": (8,), "hold_epoch": 3},
    {**LATENT, "form": "loss", "scale_update": "learned", "hold_epoch": 1, "amplitude": 1e-3},
]


def test_a_decoupled_training_ends_on_the_grid_it_held(tmp_path: Path) -> None:
    model = network()
    result = train(model, images(), changed(bits=2, regularizer=DECOUPLED), tmp_path)
    assert [log.eta > 0 for log in result.history] == [False, False, True, True]
    assert result.history[-1].eta == pytest.approx(1.0)
    assert set(result.scales) == {"0", "3", "6"}
    assert all(scale.shape == (1,) for scale in result.scales.values())
    trained = snap(model, Grid(2), scales=result.scales)
    assert set(np.unique(trained["3"].codes)) == {-1, 0, 1}


@pytest.mark.parametrize("form", [form for form in PULLED if form["form"] == "latent"])
def test_a_latent_training_ends_on_the_grid_whatever_the_rate(tmp_path: Path, form: dict[str, Any]) -> None:
    model = network()
    recipe = changed(bits=2, regularizer=form, train={"rate_schedule": "cosine", "learning_rate": 0.2})
    result = train(model, images(), recipe, tmp_path)
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    per_channel = recipe.regularizer.scale == "channel"
    for name, layer in snap(model, recipe.grid, per_channel=per_channel, scales=result.scales).items():
        assert layer.distance < 1e-4
        np.testing.assert_allclose(layer.values, weights[f"{name}.weight"], atol=1e-5)


@pytest.mark.parametrize("form", PULLED)
def test_an_interrupted_pull_resumes_to_the_same_bits(tmp_path: Path, form: dict[str, Any]) -> None:
    recipe = changed(bits=2, regularizer=form)
    whole, parts = network(), network()
    expected = train(whole, images(), recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), recipe, tmp_path / "parts", progress=interrupt_at(3 * BATCHES + 1))
    result = train(parts, images(), recipe, tmp_path / "parts", resume=True)
    assert_equal_states(state(parts), state(whole))
    again = train(network(), images(), recipe, tmp_path / "parts", resume=True)  # it is finished: read back
    assert expected.scales
    for name, scale in expected.scales.items():
        np.testing.assert_array_equal(result.scales[name], scale)
        np.testing.assert_array_equal(again.scales[name], scale)


def test_each_stage_has_a_scale_and_a_rise_of_its_own(tmp_path: Path) -> None:
    result = train(network(), images(), changed(bits=2, regularizer=PULLED[2]), tmp_path)
    assert [log.frequency for log in result.history] == [7, 7, 1, 1]
    assert result.history[1].eta == pytest.approx(1.0)
    assert result.history[2].eta < 0.5
    assert result.history[3].eta == pytest.approx(1.0)
    clip = train(network(), images(), changed(bits=2, regularizer=PULLED[2] | {"clip": 0.0}), tmp_path / "whole").scales
    assert all(result.scales[name] < clip[name] for name in clip)  # 2 bits clip again; 4 bits held max|w|
