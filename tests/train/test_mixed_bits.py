"""Layers of several widths in one training: the periodic term brings each to the grid of its own bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_training import images, network

from edgeq.manifest import layer_entries
from edgeq.recipe import Recipe, recipe_from_dict
from edgeq.snap import snap
from edgeq.train import train

BITS = {"0": 8, "6": 3}


def trained(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    model = network()
    table = {"epochs": 4, "batch_size": 16, "crop_padding": 1, "flip": True, "learning_rate": 0.01, "precision": "fp32"}
    recipe: Recipe = recipe_from_dict({"bits": 4, "train": table, "layers": BITS, **options})
    result = train(model, images(), recipe, folder)
    found = snap(model, recipe.grid, scales=result.scales, grid_of=recipe.plan.grid_of)
    return {row["name"]: row for row in layer_entries(found)}


@pytest.mark.parametrize("form", ["decoupled", "latent"])
def test_each_layer_comes_to_the_grid_of_its_own_bits(form: str, tmp_path: Path) -> None:
    rows = trained(tmp_path, regularizer={"form": form, "pull": 1.0})
    assert {name: row["bits"] for name, row in rows.items()} == dict.fromkeys(rows, 4) | BITS
    assert {name: row["distance"] for name, row in rows.items()} == pytest.approx(dict.fromkeys(rows, 0.0), abs=0.03)


def test_without_the_term_none_does(tmp_path: Path) -> None:
    rows = trained(tmp_path, method="post-training")
    assert all(row["distance"] > 0.1 for row in rows.values())
