"""The search for bits as a stage of a build: what it finds stays, in the recipe too, and what it cannot be with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_training import interrupt_at

from edgeq.errors import RecipeError
from edgeq.pipeline import build
from edgeq.recipe import Recipe, load_recipe, recipe_from_dict
from edgeq.tflite.read import read_file

STAGE = {"method": "search-bits", "tolerance": 20.0, "samples": 200, "budget": 30, "epochs": 1}


def recipe(*compress: dict[str, Any], **options: Any) -> Recipe:
    table = {"model": "lenet5", "train": {"epochs": 1, "batch_size": 64, "precision": "fp32"}}
    regularizer = {"form": "decoupled", "pull": 1.0}
    return recipe_from_dict({**table, "regularizer": regularizer, "compress": list(compress or [STAGE]), **options})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out"
    build(recipe(quantize={"packed": True}), out)
    return out


def test_the_recipe_it_leaves_builds_the_same_without_a_search(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeq.widths.source.search", None)
    left = load_recipe(built / "recipe.toml")
    found = json.loads((built / "manifest.json").read_text())["compress"][0]["layer_bits"]
    assert {name: left.plan.grid_of(name).bits for name in found} == found  # type: ignore[union-attr]
    build(left, tmp_path / "out")
    for name in ("grid.safetensors", "model.tflite", "model.onnx"):
        assert (tmp_path / "out" / name).read_bytes() == (built / name).read_bytes()
    assert (tmp_path / "out" / "recipe.toml").read_text() == (built / "recipe.toml").read_text()


def test_layers_of_four_bits_are_packed_though_the_recipe_says_eight(built: Path) -> None:
    bits = {row["name"]: row["bits"] for row in json.loads((built / "manifest.json").read_text())["layers"]}
    types = {tensor.name: tensor.dtype for tensor in read_file(built / "model.tflite").tensors}
    assert min(bits.values()) <= 4
    for name, count in bits.items():
        assert types[f"{name}.weight"] in (("int4", "int2") if count <= 4 else ("int8",))


def test_an_interrupted_build_finds_the_same_bits(tmp_path: Path) -> None:
    build(recipe(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build(recipe(), tmp_path / "out", progress=interrupt_at((1438 + 63) // 64 + 40))
    build(recipe(), tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "model.tflite").read_bytes() == (tmp_path / "whole" / "model.tflite").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bnn"}, "the method bnn has its own bits"),
        ({"compress": [STAGE, STAGE]}, "bits are searched once"),
        ({"compress": [STAGE, {"method": "low-rank", "macs": 0.5}]}, "low-rank.*after search-bits"),
        ({"compress": [{**STAGE, "tolerance": 101}]}, "search-bits: tolerance"),
        ({"compress": [STAGE], "task": "reconstruct"}, "has no accuracy"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**options)
