"""Networks that name no classes: what they are trained for, and their error through the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from docs_pages import check_manifest
from small_training import assert_equal_states, interrupt_at, state, timeless

from edgeq.data import ImageData, load_data
from edgeq.errors import ModelError, RecipeError
from edgeq.models import build_network
from edgeq.pipeline import build, train_only
from edgeq.recipe import Recipe, TrainRecipe, recipe_from_dict
from edgeq.tasks import make_network
from edgeq.train import train

SUM: dict[str, Any] = {
    "model": "sum_network", "task": "sum", "method": "post-training",
    "train": {"epochs": 2, "batch_size": 100, "learning_rate": 0.005, "momentum": 0.3, "crop_padding": 0,
              "weight_decay": 0.0, "precision": "fp32", "device": "cpu"},
}  # fmt: skip


def pairs(count: int = 1000) -> ImageData:
    data = load_data("sums")
    return ImageData(
        "few", data.train_images[:count], data.train_labels[:count], data.test_images[:200], data.test_labels[:200],
        data.classes,
    )  # fmt: skip


def test_the_sums_are_all_pairs_once_with_their_signs() -> None:
    data = load_data("sums")
    images = torch.cat([data.train_images, data.test_images]).flatten(1).long()
    assert len(torch.unique(images[:, 0] * 256 + images[:, 1])) == 256**2
    real = (images - 128) / 128
    labels = torch.cat([data.train_labels, data.test_labels])
    assert torch.equal(labels == 1, real.sum(1) >= 0)
    assert data.input_shape == (2, 1, 1)


def test_a_network_learns_to_add_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    recipe, data = recipe_from_dict(SUM), pairs()
    model = make_network(recipe, data)
    result = train(model, data, recipe, tmp_path / "whole")
    last = result.history[-1]
    with torch.no_grad():
        inputs = (data.test_images.float() - 128) / 128
        error = float((model(inputs)[:, 0] - inputs.flatten(1).sum(1)).square().mean())
    assert last.test_error == pytest.approx(error, rel=1e-4)
    assert error < 0.1  # the sums have a variance of 2/3
    assert last.test_accuracy is last.train_accuracy is None
    with pytest.raises(KeyboardInterrupt):
        train(make_network(recipe, data), data, recipe, tmp_path / "parts", progress=interrupt_at(12))
    again = make_network(recipe, data)
    assert timeless(train(again, data, recipe, tmp_path / "parts", resume=True).history) == timeless(result.history)
    assert_equal_states(state(again), state(model))


def test_an_auto_encoders_error_is_that_of_its_file(tmp_path: Path) -> None:
    """Against the file run by hand, pixel by pixel."""
    from ai_edge_litert.interpreter import Interpreter

    recipe = recipe_from_dict(
        {"model": "mnist_autoencoder", "task": "reconstruct", "data": {"image_size": 8},
         "train": {"epochs": 1, "batch_size": 64, "optimizer": "adam", "learning_rate": 0.005, "crop_padding": 0}}
    )  # fmt: skip
    result = build(recipe, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "accuracy" not in manifest
    check_manifest(manifest)
    assert not (tmp_path / "out" / "labels.txt").exists()
    errors = manifest["error"]
    interpreter = Interpreter(str(tmp_path / "out" / "model.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]
    found = []
    images = load_data("digits", image_size=8).test_images.permute(0, 2, 3, 1).numpy()
    for image in images:
        interpreter.set_tensor(taken["index"], image[None])
        interpreter.invoke()
        codes = interpreter.get_tensor(given["index"])[0].astype(np.float64)
        found.append(np.square((codes - zero) * scale - (image.astype(np.float64) - 128) / 128).mean())
    assert errors["tflite"] == pytest.approx(np.mean(found), rel=1e-5)
    assert abs(errors["tflite"] - errors["float"]) < 0.1 * errors["float"]
    assert manifest["parity"]["max_code_difference"] <= 1
    assert f"{errors['tflite']:.3g}" in (tmp_path / "out" / "report.html").read_text()
    assert "mean squared error" in str(result.summary())
    assert result.accuracy == {}


def test_the_first_half_alone_tells_the_error_too(tmp_path: Path) -> None:
    recipe = recipe_from_dict(
        {"model": "mnist_autoencoder", "task": "reconstruct", "method": "post-training", "data": {"image_size": 8},
         "train": {"epochs": 1, "batch_size": 128, "crop_padding": 0}}
    )  # fmt: skip
    error = train_only(recipe, tmp_path / "out")["error"]
    assert 0 < error["float"] < 5
    assert error["samples"] == 359


def test_networks_that_give_something_else_are_refused(tmp_path: Path) -> None:
    data = pairs(10)
    with pytest.raises(ModelError, match=r"does not fit the data.*got \[1, 2\], wanted \[1, 2, 1, 1\].*image to image"):
        make_network(Recipe(model="mlp", task="reconstruct"), data)
    assert build_network("mlp", num_classes=1, input_shape=(2, 1, 1), seed=0)(torch.zeros(3, 2, 1, 1)).shape == (3, 1)
    with pytest.raises(RecipeError, match=r"train\.label_smoothing: there are no classes"):
        Recipe(task="sum", train=TrainRecipe(label_smoothing=0.1))
    with pytest.raises(RecipeError, match="the app shows classes"):
        build(recipe_from_dict(SUM), tmp_path / "out", android=True)
