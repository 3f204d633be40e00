"""Bit-progressive training: what the widths share, what each has of its own, and a whole folder for each."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from docs_pages import check_manifest
from small_training import Watch, images, network
from torch import nn

from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.pipeline import build, train_only
from edgeq.recipe import Recipe, RoundingRecipe, TrainRecipe, recipe_from_dict
from edgeq.reverify import verify_build
from edgeq.rounding.base import Rounding, roundings
from edgeq.rounding.progressive import (
    NormPerWidth,
    StepPerWidth,
    active_widths,
    begin_widths,
    each_width,
    put_widths_on,
)
from edgeq.snap import load_grid, snap
from edgeq.train import TrainResult, train

WIDTHS = (8, 4, 2)
RECIPE = Recipe(
    model="tiny",
    method="bit-progressive",
    rounding=RoundingRecipe(widths=WIDTHS),
    train=TrainRecipe(epochs=3, batch_size=16, crop_padding=1, flip=True, learning_rate=0.01, device="cpu"),
)
PAGE = Path(__file__).parents[2] / "docs" / "compress" / "bit-progressive.md"


def parts(modules: nn.ModuleList) -> list[Any]:
    return list(modules)


def steps_of(rounding: Rounding) -> list[float]:
    assert isinstance(rounding, StepPerWidth)
    return [float(item.step.detach().sum()) for item in parts(rounding.steps)]


def run(folder: Path, *, resume: bool = False) -> tuple[nn.Module, TrainResult]:
    model = network()
    return model, train(model, images(), RECIPE, folder, resume=resume)


@pytest.mark.parametrize(("epochs", "count"), [(9, 3), (7, 3), (30, 4), (3, 3), (2, 3), (1, 2)])
def test_widths_begin_in_equal_parts_and_all_are_there_in_the_end(epochs: int, count: int) -> None:
    active = [active_widths(epoch, epochs, count) for epoch in range(epochs)]
    assert active == sorted(active)
    assert active[-1] == count
    if epochs >= count:
        parts = [active.count(width) for width in range(1, count + 1)]
        assert max(parts) - min(parts) <= 1


def test_widths_share_weights_and_nothing_else_that_depends_on_rounding() -> None:
    model = network()
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    put_widths_on(model, RECIPE)
    beneath = {name: weight for name, _, _, weight in roundings(model)}
    assert set(beneath) == {"0", "3", "6"}
    norm = model.get_submodule("1")
    assert isinstance(norm, NormPerWidth)
    x, seen = torch.randn(8, 3, 8, 8), []
    for width in each_width(model.train(), 2, 3):
        bits = WIDTHS[width]
        for name, layer, rounding, weight in roundings(model):
            assert torch.equal(weight, plain[f"{name}.weight"])
            codes = layer.weight.detach() / (rounding.scale(weight) / Grid(bits).steps_in_max)  # type: ignore[operator]
            torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
            assert codes.abs().max() <= Grid(bits).qmax + 1e-4
            assert len(np.unique(codes.detach().round().numpy())) >= {2: 3, 4: 7, 8: 16}[bits]
        model(x)
        seen.append([bool(item.running_mean.any()) for item in parts(norm.norms)])
    assert seen == [[True, False, False], [True, True, False], [True, True, True]]


def test_a_width_begins_with_the_batch_norm_before_it_and_a_step_for_the_weights_as_they_are() -> None:
    model = network()
    put_widths_on(model, RECIPE)
    begin_widths(model, 0, 3)
    norm = model.get_submodule("1")
    assert isinstance(norm, NormPerWidth)
    with torch.no_grad():
        parts(norm.norms)[0].bias.fill_(7.0)
        for _, _, _, weight in roundings(model):
            weight.mul_(3)
    before = {name: steps_of(rounding) for name, _, rounding, _ in roundings(model)}
    begin_widths(model, 1, 3)
    assert [bool((item.bias == 7).all()) for item in parts(norm.norms)] == [True, True, False]
    for name, _, rounding, _ in roundings(model):
        np.testing.assert_allclose(np.divide(steps_of(rounding), before[name]), [1, 3, 1], rtol=1e-5)


def test_each_width_is_a_plain_network_on_its_grid(tmp_path: Path) -> None:
    model, result = run(tmp_path)
    assert [width.bits for width in result.widths] == list(WIDTHS)
    last = model.state_dict()
    for width in result.widths:
        plain = network()
        plain.load_state_dict(width.state)
        for name, weight in snap(plain, Grid(width.bits), scales=width.scales).items():
            assert weight.distance < 1e-5
            np.testing.assert_allclose(weight.values, width.state[f"{name}.weight"].numpy(), rtol=1e-5)
        if width.bits == RECIPE.bits:
            assert all(torch.equal(value, last[name]) for name, value in width.state.items())
            assert all(np.array_equal(scale, result.scales[name]) for name, scale in width.scales.items())
    assert not torch.equal(result.widths[0].state["1.running_var"], result.widths[2].state["1.running_var"])
    assert torch.equal(result.widths[0].state["0.bias"], result.widths[2].state["0.bias"])


def test_a_stopped_training_goes_on_to_the_same_widths(tmp_path: Path) -> None:
    _, whole = run(tmp_path / "whole")

    def stop(step: int) -> None:
        if step == 4:  # in the second epoch of three batches, when the second width has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), images(), RECIPE, tmp_path / "cut", progress=Watch(stop))
    _, resumed = run(tmp_path / "cut", resume=True)
    for one, other in zip(whole.widths, resumed.widths, strict=True):
        assert all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def test_one_build_leaves_a_whole_folder_at_each_width(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert "edgeq build --method bit-progressive " in page
    out = tmp_path / "out"
    result = build(recipe_from_dict(tomllib.loads(block[1])), out)
    manifest = json.loads((out / "manifest.json").read_text())
    check_manifest(manifest)
    assert manifest["widths"] == [
        {
            "bits": bits,
            "path": f"{bits}bit",
            "tflite": json.loads((out / f"{bits}bit/manifest.json").read_text())["accuracy"]["tflite"],
        }
        for bits in WIDTHS
    ]
    for bits in WIDTHS:
        grids = load_grid(out / f"{bits}bit" / "grid.safetensors")
        assert [weight.grid.bits for weight in grids.values()] == [8, bits, bits, bits, 8]
        found = verify_build(out / f"{bits}bit", reference_samples=16)
        assert found.accuracy["tflite"] > 50
    assert (out / "2bit/model.tflite").read_bytes() == (out / "model.tflite").read_bytes()
    assert any("8bit" in str(line) for line in result.summary())


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for table, message in (
        ({"method": "bit-progressive"}, "rounding.widths"),
        ({"method": "bit-progressive", "rounding": {"widths": [2, 8]}}, "falling"),
        ({"method": "bit-progressive", "bits": 3, "rounding": {"widths": [8, 2]}}, "bits"),
        ({"method": "bit-progressive", "rounding": {"widths": [8, 2]}, "quantize": {"mode": "float32"}}, "mode"),
        ({"rounding": {"widths": [8, 2]}}, "rounding.widths"),
        ({"method": "bwn", "bits": 2}, "bits"),
        ({"method": "bwn", "rounding": {"activations": 1}}, "rounding.activations"),
        ({"method": "bwn", "rounding": {"stochastic": True}}, "rounding.stochastic"),
        ({"method": "bnn", "rounding": {"input_scale": True}}, "rounding.input_scale"),
        ({"method": "xnor-net", "rounding": {"input_scale": True, "activations": 0}}, "rounding.activations"),
        ({"method": "bnn", "quantize": {"mode": "int16"}}, "quantize.mode"),
        ({"method": "twn", "quantize": {"mode": "float16"}}, "quantize.mode"),
        ({"method": "twn", "regularizer": {"stages": [8, 4]}}, "regularizer.stages"),
        ({"rounding": {"threshold": 0.5}}, "rounding.threshold"),
        ({"rounding": {"ends": 9}}, "rounding.ends"),
        ({"method": "bwn", "compress": [{"method": "prune-magnitude", "sparsity": 0.5}]}, "no zero"),
        ({"method": "bwn", "compress": [{"method": "symmetric"}]}, "scale a channel"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=message):
            recipe_from_dict(table)
    with pytest.raises(RecipeError, match="edgeq build"):
        train_only(dataclasses.replace(RECIPE, model="lenet5"), tmp_path / "out")
