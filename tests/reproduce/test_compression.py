"""The table over compression methods: its runs, its figures through real files, and what is said of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgeq.compress import METHODS
from edgeq.errors import RecipeError
from edgeq.recipe import Recipe, TrainRecipe, load_recipe, recipe_to_toml
from edgeq.reproduce.compression import compare_compression, compression_runs
from edgeq.reproduce.compression_rows import ENTRIES, PLAIN
from edgeq.reproduce.compression_table import CompressionRow, CompressionTable, Instructions
from edgeq.reproduce.start import Start
from edgeq.rounding.table import METHODS as ROUNDING
from edgeq.sweep import Sweep

EPOCHS = 8


def test_every_run_has_the_same_epochs_from_its_seeds_network(tmp_path: Path) -> None:
    runs = compression_runs(Recipe(), Start(100), EPOCHS, (0, 3))
    assert len({run.name for run in runs}) == len(runs) == 2 * (1 + len({entry.run or entry.name for entry in ENTRIES}))
    for run in (run for run in runs if run.after):
        assert run.after == f"float-seed{run.recipe.seed}"
        trained = sum(method.epochs * method.rounds for method in run.recipe.compress)
        assert run.recipe.train.epochs + trained == EPOCHS, run.name
        (tmp_path / "r.toml").write_text(recipe_to_toml(run.recipe))
        assert load_recipe(tmp_path / "r.toml") == run.recipe  # as the sweep's process will have it


def test_every_method_that_needs_no_network_of_its_own_has_a_row() -> None:
    compressing = {text.partition(",")[0] for entry in ENTRIES for text in entry.compress}
    assert compressing == METHODS.keys() - {"fold-dirac"}
    methods = {run.recipe.method for run in compression_runs(Recipe(), Start(100), EPOCHS, (0,))}
    assert methods == {"post-training", "periodic", "bit-progressive", *ROUNDING}


def test_each_row_is_of_the_bits_that_its_weights_have() -> None:
    rows = {entry.name: entry for entry in ENTRIES}
    base = Recipe(train=TrainRecipe(init="float.safetensors"))
    for entry in ENTRIES:
        recipe = entry.made(base, EPOCHS)
        few = 2 if recipe.regularizer.function == "sine" else 1
        if entry.run:
            assert entry.bits in recipe.rounding.widths
        else:
            assert entry.bits == (few if recipe.method in ROUNDING or recipe.bits < 8 else 8), entry.name
    assert rows["periodic-cosine"].made(base, 1).grid == rows["bwn"].made(base, 1).grid
    assert rows["binary-connect-stochastic"].made(base, 1).rounding.stochastic


def test_the_networks_without_a_grid_are_those_of_the_comparison_of_methods() -> None:
    from edgeq.reproduce.methods import method_runs

    ours = {run.name: run.recipe for run in compression_runs(Recipe(), Start(100), EPOCHS, (0, 1))}
    theirs = {run.name: run.recipe for run in method_runs(Recipe(), Start(100), EPOCHS, (0, 1))}
    assert {name: ours[name] for name in ours.keys() & theirs.keys()} == {
        f"float-seed{seed}": theirs[f"float-seed{seed}"] for seed in (0, 1)
    }


def test_the_figures_are_those_of_the_files(tmp_path: Path) -> None:
    options = {"model": "lenet5", "epochs": 2, "retraining_epochs": 1, "seeds": (0,), "only": ["prune-80"]}
    found = compare_compression(out=tmp_path, bench=False, **options)  # type: ignore[arg-type]
    plain, pruned = found.rows
    assert (plain.name, pruned.name) == (PLAIN, "prune-80")
    assert not found.failures
    manifest = json.loads((tmp_path / "prune-80-seed0" / "manifest.json").read_text())
    assert pruned.tflite == (manifest["accuracy"]["tflite"],)
    assert pruned.tflite_bytes == (tmp_path / "prune-80-seed0" / "model.tflite").stat().st_size
    assert pruned.weights == plain.weights == sum(math.prod(layer["shape"]) for layer in manifest["layers"])
    assert pruned.macs == plain.macs == manifest["compress"][0]["macs"]
    assert pruned.packed_bytes < 0.7 * plain.packed_bytes
    again = compare_compression(out=tmp_path, bench=False, **options)  # type: ignore[arg-type]
    assert again == found


def test_the_widths_of_one_run_are_rows_of_their_own(tmp_path: Path) -> None:
    names = ["bit-progressive-8bit", "bit-progressive-2bit"]
    options = {"model": "lenet5", "epochs": 1, "retraining_epochs": 3, "seeds": (0,), "only": names}
    found = compare_compression(out=tmp_path, bench=False, **options)  # type: ignore[arg-type]
    assert not found.failures
    assert [row.name for row in found.rows] == [PLAIN, *names]
    for row in found.rows[1:]:
        folder = tmp_path / "bit-progressive-seed0" / f"{row.bits}bit"
        assert row.tflite == (json.loads((folder / "manifest.json").read_text())["accuracy"]["tflite"],)
        assert row.tflite_bytes == (folder / "model.tflite").stat().st_size
    assert found.rows[2].packed_bytes < found.rows[1].packed_bytes


def test_a_method_that_is_not_for_the_network_is_told_from_one_that_failed(tmp_path: Path) -> None:
    options = {"model": "lenet5", "epochs": 1, "retraining_epochs": 1, "seeds": (0, 1), "only": ["symmetric"]}
    found = compare_compression(out=tmp_path, bench=False, **options)  # type: ignore[arg-type]
    assert not found.failures
    assert not found.rows[0].refused
    (reason,) = found.refusals
    assert reason.startswith("compress symmetric: no layer can be symmetric")
    assert f"not for it  symmetric: {reason}" in str(found)
    assert found.to_dict()["rows"][1]["refused"] == reason


def test_what_a_method_refuses_of_one_seed_alone_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = "edgeq: error: compress symmetric: no layer can be symmetric"
    stopped = {"symmetric-seed0": refusal, "symmetric-seed1": "killed"}
    swept = Sweep({}, stopped)
    monkeypatch.setattr("edgeq.reproduce.compression.run_sweep", lambda *given, **named: swept)
    found = compare_compression(out=tmp_path, bench=False, seeds=(0, 1), only=["symmetric"])
    assert not found.refusals
    assert found.failures == stopped


def test_an_unknown_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such row"):
        compare_compression(out=tmp_path / "out", only=["prune"])
    assert not (tmp_path / "out").exists()


def test_a_table_says_shares_and_failures() -> None:
    plain = CompressionRow(PLAIN, (), 8, (90.0, 91.0), 1000, 5000, 2000, 1500, Instructions(10, 20))
    half = CompressionRow("half", ("x",), 2, (89.0, 89.5), 500, 2500, 1000, 800, Instructions(6, 12), "its paper: 1 %")
    lost = CompressionRow("lost", ("y",), 8, (math.nan, 88.0))
    table = CompressionTable(
        "100 epochs without a grid", 100, 8, (0, 1), (91.0, 92.0), (plain, half, lost), {"lost-seed0": "no memory"}
    )
    text = str(table)
    assert "-1.25" in text
    assert "12 (x0.60)" in text
    assert "failed  lost-seed0: no memory" in text
    result = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert result["rows"][1]["to_plain"] == -1.25
    assert result["rows"][2]["tflite"] == [None, 88.0]
    assert result["rows"][1]["instructions"] == {"cortex_a7": 6, "cortex_a75": 12}
