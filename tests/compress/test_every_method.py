"""What is true of every compression method: the property of its row through all files, resume, refusals, its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compress_cases import CASES, PAGES, Case

from edgeq.compress import METHODS, method_from_table
from edgeq.errors import RecipeError
from edgeq.manifest import mean_distance
from edgeq.pipeline import build
from edgeq.recipe import load_recipe, recipe_from_dict, recipe_to_toml
from edgeq.results import BuildResult
from edgeq.snap import load_grid


@pytest.fixture(scope="module", params=CASES, ids=str)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path, BuildResult]:
    case: Case = request.param
    out = tmp_path_factory.mktemp("built") / "out"
    return case, out, build(recipe_from_dict(case.table), out)


def test_the_property_of_the_method_holds_in_every_file(built: tuple[Case, Path, BuildResult]) -> None:
    case, out, result = built
    manifest = json.loads((out / "manifest.json").read_text())
    entry = manifest["compress"][-1]
    assert entry["method"] == case.method
    assert case.holds(load_grid(out / "grid.safetensors"), entry)
    assert manifest["parity"]["codes_kept"] == manifest["parity"]["codes"]  # the same codes are in ONNX and TFLite
    assert manifest["parity"]["max_code_difference"] <= 1
    assert result.accuracy["tflite"] > 30


def test_the_periodic_term_pulled_in_the_last_training(built: tuple[Case, Path, BuildResult]) -> None:
    _, out, _ = built
    assert mean_distance(json.loads((out / "manifest.json").read_text())["layers"]) < 0.01  # 0.25 where nothing pulls


def test_a_build_is_verified_again_from_its_folder(built: tuple[Case, Path, BuildResult]) -> None:
    from edgeq.reverify import verify_build

    _, out, result = built
    assert verify_build(out).accuracy["tflite"] == pytest.approx(result.accuracy["tflite"])


def test_the_recipe_comes_back_from_its_file(built: tuple[Case, Path, BuildResult]) -> None:
    _, out, _ = built
    recipe = load_recipe(out / "recipe.toml")
    assert recipe_to_toml(recipe) == (out / "recipe.toml").read_text()
    assert recipe.compress


def test_every_method_has_a_case_and_a_page() -> None:
    assert {case.method for case in CASES} == METHODS.keys()
    for name, row in METHODS.items():
        assert row.load().name == name
        assert f"--compress {name}" in (PAGES / f"{name}.md").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_options_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"compress {name}: epochs"):
        method_from_table({"method": name, "epochs": -1}, where="recipe")
    with pytest.raises(RecipeError, match="unknown key"):
        method_from_table({"method": name, "epoch": 1}, where="recipe")


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean prune-magnitude"):
        method_from_table({"method": "prune-magnitud"}, where="recipe")


def test_an_interrupted_build_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    from small_training import interrupt_at

    recipe = recipe_from_dict(CASES[1].table)
    build(recipe, tmp_path / "whole")
    steps = (1438 + 63) // 64
    with pytest.raises(KeyboardInterrupt):
        build(recipe, tmp_path / "out", progress=interrupt_at(3 * steps + 2))
    build(recipe, tmp_path / "out", resume=True)
    for name in ("grid.safetensors", "checkpoint.safetensors", "model.tflite"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("step", [2, 25])
def test_an_interrupted_build_from_a_trained_network_goes_on(tmp_path: Path, step: int) -> None:
    """The first training has no epochs, and so no checkpoint, however far the second one is."""
    from small_training import interrupt_at

    start = build(recipe_from_dict({"model": "lenet5", "train": {"epochs": 1}}), tmp_path / "start")
    train = {"epochs": 0, "init": str(start.out / "checkpoint.safetensors")}
    compress = [{"method": "prune-magnitude", "sparsity": 0.5, "epochs": 2}]
    recipe = recipe_from_dict({"model": "lenet5", "train": train, "compress": compress})
    build(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build(recipe, tmp_path / "out", progress=interrupt_at(step))
    kept = (tmp_path / ".out.part").exists()
    assert kept == (step > (1438 + 127) // 128), "of the first epoch there is nothing to go on from"
    if not kept:
        with pytest.raises(RecipeError, match="no checkpoint to go on from"):
            build(recipe, tmp_path / "out", resume=True)
    build(recipe, tmp_path / "out", resume=kept)
    for name in ("grid.safetensors", "checkpoint.safetensors", "model.tflite"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_pruned_weight_stays_zero_in_each_form_of_the_pull(tmp_path: Path) -> None:
    from small_training import images, network

    from edgeq.compress.masks import mask_constraint
    from edgeq.train import train

    forms: list[dict[str, Any]] = [
        {"bits": 8},
        {"bits": 4},
        {"bits": 4, "regularizer": {"form": "decoupled"}},
        {"bits": 4, "method": "straight-through"},
    ]
    for number, extra in enumerate(forms):
        model = network().eval()
        mask = torch.rand(5, 6, 3, 3) < 0.3
        constraint = mask_constraint(model, {"3": mask})
        recipe = recipe_from_dict({"train": {"epochs": 2, "batch_size": 16, "precision": "fp32"}, **extra})
        train(model, images(), recipe, tmp_path / str(number), constraints=[constraint])
        weight = model.state_dict()["3.weight"]
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != 0).any()
