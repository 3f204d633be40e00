"""The comparison at one and two bits: every method of the table is in it, over equal epochs from the same network."""

from __future__ import annotations

import json
import math
from pathlib import Path

from edgeq.recipe import Recipe, recipe_from_dict, recipe_to_toml
from edgeq.reproduce.comparison import ComparisonRow
from edgeq.reproduce.few_bits import ROWS, FewBits, few_bit_runs
from edgeq.rounding.table import METHODS
from edgeq.strict_toml import read_toml


def test_every_method_is_compared_over_equal_epochs_from_its_seeds_float_network(tmp_path: Path) -> None:
    runs = few_bit_runs(Recipe(), 100, 8, (0, 1))
    assert len({run.name for run in runs}) == len(runs) == 2 * (1 + len(ROWS))
    assert {run.recipe.method for run in runs} == {"post-training", "periodic", *METHODS}
    by_name = {run.name: run for run in runs}
    assert all(by_name[run.after].recipe.seed == run.recipe.seed for run in runs if run.after)
    assert {run.recipe.train.epochs for run in runs if run.after} == {8}
    assert by_name["few-periodic-1bit-seed0"].recipe.grid == by_name["few-bwn-8-bit-ends-1bit-seed1"].recipe.grid
    assert by_name["few-binary-connect-stochastic-1bit-seed0"].recipe.rounding.stochastic
    for run in runs:  # each is a recipe file of the sweep
        (tmp_path / "recipe.toml").write_text(recipe_to_toml(run.recipe))
        assert recipe_from_dict(read_toml(tmp_path / "recipe.toml")) == run.recipe


def test_each_row_is_of_the_bits_that_its_weights_have() -> None:
    for row in ROWS:
        recipe = Recipe(**row.recipe)
        assert row.bits == (2 if recipe.regularizer.function == "sine" else 1)


def test_the_table_has_a_row_a_method_and_says_what_failed() -> None:
    rows = (
        ComparisonRow("float", 32, (91.0, 93.0), (91.0, 93.0), (90.0, 91.0), (0.2, 0.2), (5, 7)),
        ComparisonRow("bwn", 1, (90.0, 91.0), (90.0, 91.0), (89.0, 91.0), (0.0, 0.0), (5, 7)),
        ComparisonRow("twn", 2, (math.nan, 91.0), (math.nan, 91.0), (math.nan, 91.0), (math.nan, 0.0), (7,)),
    )
    shown = FewBits(10, 4, (0, 1), rows, {"twn-2bit-seed0": "no memory"})
    lines = list(map(str.split, str(shown).splitlines()))
    assert ["float", "32", "92.00"] in lines
    assert ["bwn", "1", "90.50", "90.00", "0.0000", "6"] in lines
    assert ["twn", "2", "failed", "failed", "failed", "7"] in lines
    assert "no memory" in str(shown)
    assert json.loads(json.dumps(shown.to_dict(), allow_nan=False))["rows"][2]["tflite"] == [None, 91.0]
