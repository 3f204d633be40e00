"""The recipe of each method's page builds, and what the table says of the method is true of its files."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgeq.pipeline import build
from edgeq.recipe import recipe_from_dict
from edgeq.rounding.table import METHODS
from edgeq.snap import load_grid
from edgeq.tflite.read import read_graph

PAGES = Path(__file__).parents[2] / "docs" / "compress"
CODES = {"cosine": {-1, 1}, "sine": {-1, 0, 1}}


@pytest.mark.parametrize("name", METHODS)
def test_the_recipe_of_the_page_builds(name: str, tmp_path: Path) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"edgeq build --method {name} " in page
    assert METHODS[name].paper.split(", ")[1] in page
    block = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    recipe = recipe_from_dict(tomllib.loads(block[1]))
    assert recipe.method == name
    result = build(recipe, tmp_path / "out")
    row, manifest = METHODS[name], json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert result.accuracy["tflite"] > 50  # chance is 10
    assert result.accuracy["float"] == result.accuracy["snapped"]
    assert manifest["parity"]["codes_kept"] == manifest["parity"]["codes"]
    assert manifest["parity"]["max_code_difference"] <= 1
    grids = load_grid(tmp_path / "out" / "grid.safetensors")
    ends = {next(iter(grids)), list(grids)[-1]} if row.ends else set()
    for layer in manifest["layers"]:
        weight = grids[layer["name"]]
        assert layer["distance"] <= 1e-5
        codes = set(np.unique(weight.codes).tolist())
        assert (weight.grid.bits == 8) == (layer["name"] in ends)
        if layer["name"] in ends:
            assert len(codes) > 3
        elif name == "dorefa":
            assert codes <= {-3, -1, 1, 3}
        elif name == "ttq":
            assert len(codes) == 3
            assert max(codes) == 7 or min(codes) == -7
        else:
            assert codes <= CODES[row.function]
        assert weight.step.size == (len(weight.codes) if row.scale == "channel" else 1)
    assert all(weight.grid.function == (row.function if key not in ends else "sine") for key, weight in grids.items())
    if recipe.quantize.packed:
        graph = read_graph((tmp_path / "out" / "model.tflite").read_bytes())
        stored = {graph.tensors[node.inputs[1]].name: node for node in graph.operators if len(node.inputs) == 3}
        for key in grids.keys() - ends:
            node = stored[f"{key}.weight"]
            narrow = "int2" if node.kind == "FULLY_CONNECTED" and name != "ttq" else "int4"
            assert graph.tensors[node.inputs[1]].dtype == narrow
