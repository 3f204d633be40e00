from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from conftest import Build, Ended
from onnx import numpy_helper
from small_training import assert_equal_states, images, interrupt_at, state, timeless
from torch import Tensor, nn

from edgeq.activations import ActivationRounding
from edgeq.errors import FormatError, RecipeError
from edgeq.export.activations import ActivationGrid
from edgeq.recipe import Recipe, RegularizerRecipe, TrainRecipe
from edgeq.train import TrainResult, train
from edgeq.train.loop import CHECKPOINT

Run = Callable[..., Ended]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        logits: Tensor = self.fc(torch.relu(self.bn2(self.conv2(y)) + y).mean((2, 3)))
        return logits


RECIPE = Recipe(
    model="tiny",
    bits=4,
    train=TrainRecipe(
        epochs=4, batch_size=16, crop_padding=1, learning_rate=0.05, device="cpu", activations="fake-quantize"
    ),
)
METHODS: dict[str, dict[str, Any]] = {
    "loss": {"regularizer": RegularizerRecipe(form="loss")},
    "decoupled": {"regularizer": RegularizerRecipe(form="decoupled")},
    "latent": {"regularizer": RegularizerRecipe(form="latent")},
    "straight-through": {"method": "straight-through"},
    "post-training": {"method": "post-training"},
}


def run(folder: Path, recipe: Recipe = RECIPE, **options: Any) -> tuple[nn.Module, TrainResult]:
    torch.manual_seed(0)
    model = Residual()
    return model, train(model, images(), recipe, folder, **options)


def rounding_of(result: TrainResult) -> ActivationRounding:
    assert result.activations is not None
    return result.activations


def grids_of(result: TrainResult) -> dict[str, ActivationGrid]:
    rounding = rounding_of(result)
    return rounding.sites.grids(rounding.seen)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_every_method_trains_with_rounded_activations(tmp_path: Path, method: str, precision: str) -> None:
    train = dataclasses.replace(RECIPE.train, precision=cast('Literal["bf16", "fp32"]', precision))
    recipe = dataclasses.replace(RECIPE, **METHODS[method], train=train)
    model, result = run(tmp_path, recipe)
    assert len(grids_of(result)) == 6  # the input, two Relus, a batch norm before a sum, the mean, the logits
    assert not model._forward_hooks
    plain = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, activations="float"))
    other, _ = run(tmp_path / "plain", plain)
    assert not torch.equal(other.get_parameter("fc.weight"), model.get_parameter("fc.weight"))


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Stopped before the first look at the ranges, and after; then asked again when all is done."""
    whole, straight = run(tmp_path / "whole")
    for step in (4, 8):
        folder = tmp_path / f"{step}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, progress=interrupt_at(step))
        model, result = run(folder, resume=True)
        assert_equal_states(state(model), state(whole))
        assert timeless(result.history) == timeless(straight.history)
        assert rounding_of(result).seen == rounding_of(straight).seen
    _, again = run(folder, resume=True)
    assert rounding_of(again).ranges == rounding_of(straight).ranges


@pytest.mark.parametrize("bad", [{"x": [0.0, 1.0]}, {"logits": [0.0]}, 3])
def test_bad_ranges_in_a_checkpoint(tmp_path: Path, bad: object) -> None:
    run(tmp_path)
    checkpoint = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    (callback,) = (item for item in checkpoint["callbacks"].values() if "activation_ranges" in item)
    callback["activation_ranges"] = bad
    torch.save(checkpoint, tmp_path / CHECKPOINT)
    with pytest.raises(FormatError, match="train without --resume"):
        run(tmp_path, resume=True)


def test_other_modes_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.activations.*--activations float"):
        dataclasses.replace(RECIPE, layers={"fc": "float32"})


def test_the_artifact_has_the_trained_grids(
    built: Build, tmp_path: Path, edgeq: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scale and zero point of every quantized activation, in both files."""
    results: list[TrainResult] = []

    def watched(*given: Any, **options: Any) -> TrainResult:
        results.append(train(*given, **options))
        return results[-1]

    monkeypatch.setattr(importlib.import_module("edgeq.train"), "train", watched)
    arguments = [*built.arguments, "--epochs", "3", "--activations", "fake-quantize", "--io", "int8"]
    assert edgeq("build", *arguments, "--out", tmp_path / "out").code == 0
    rounding = rounding_of(results[0])
    grids = rounding.sites.grids(rounding.seen)
    assert {rounding.sites.names[number]: grid for number, grid in rounding.grids.items()}.items() <= grids.items()
    stored = {
        item.name: numpy_helper.to_array(item) for item in onnx.load(tmp_path / "out/model.onnx").graph.initializer
    }
    activations = {name.removesuffix("_scale") for name in stored if name.endswith("_scale")}
    activations = {name for name in activations if not name.endswith((".weight", ".bias"))}
    assert activations <= set(grids)
    for name in activations:
        found = ActivationGrid(float(stored[f"{name}_scale"]), int(stored[f"{name}_zero_point"]))
        assert found == grids[name], name
    interpreter = Interpreter(model_path=str(tmp_path / "out/model.tflite"))
    count = 0
    for detail in interpreter.get_tensor_details():
        if (grid := grids.get(detail["name"])) is not None:
            count += 1
            assert detail["quantization"] == (np.float32(grid.scale), grid.zero_point), detail["name"]
    assert count == len(activations)
    check_other_commands(built, tmp_path, edgeq, stored)


def check_other_commands(built: Build, folder: Path, edgeq: Run, stored: dict[str, Any]) -> None:
    """``verify`` classifies as trained; ``export`` of checkpoint and grid has the same grids without calibration."""
    built_parity = json.loads((folder / "out/manifest.json").read_text())["parity"]
    verified = edgeq("verify", folder / "out", "--json")
    assert verified.code == 0
    assert json.loads(verified.out)["parity"]["snapped_agreement"] == built_parity["snapped_agreement"] == 100
    files = ["--checkpoint", folder / "out/checkpoint.safetensors", "--grid", folder / "out/grid.safetensors"]
    source = ["--model", f"{built.nets}:signed", "--input-shape", "3,12,12", "--calibration-data", built.images]
    ended = edgeq("export", *source, *files, "--io", "int8", "--out", folder / "again")
    assert ended.code == 0, ended.err
    graph = onnx.load(folder / "again/model.onnx").graph
    again = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for name, value in stored.items():
        if not name.startswith("logits_"):  # its name comes with the build
            assert np.array_equal(again[name], value), name
    assert {float(again[name]) for name in again.keys() - stored.keys() if name.endswith("_scale")} == {
        float(stored["logits_scale"])
    }
