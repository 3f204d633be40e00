"""The comparison of methods: its runs, its figures, and what is said of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from edgeq.errors import FormatError
from edgeq.manifest import SCHEMA, write_manifest
from edgeq.recipe import Recipe, TrainRecipe, recipe_to_toml
from edgeq.reproduce.methods import make_comparison, method_runs
from edgeq.reproduce.start import Start
from edgeq.sweep import Sweep


def manifest(tflite: float, *, snapped: float | None = None, before: float | None = None) -> dict[str, Any]:
    snapped = tflite if snapped is None else snapped
    return {
        "accuracy": {"float": snapped if before is None else before, "snapped": snapped, "tflite": tflite},
        "layers": [{"shape": [10], "distance": 0.001}, {"shape": [3, 10], "distance": 0.003}],
        "artifacts": [{"path": "model.tflite", "bytes": 5}],
    }


def sweep(**tflite: tuple[float, float]) -> Sweep:
    """Two seeds of a float network of 91 %, 91.2 % when trained on; every other as given, or 90.95."""
    manifests = {f"float-seed{seed}": manifest(90, before=91) for seed in (0, 1)}
    for bits in (8, 4, 2):
        for method in ("periodic", "straight-through", "post-training"):
            for seed in (0, 1):
                value = tflite.get(f"{method.replace('-', '_')}_{bits}", (90.95, 90.95))[seed]
                manifests[f"{method}-{bits}bit-seed{seed}"] = manifest(
                    value, before=91.2 if method == "post-training" else None
                )
    return Sweep(manifests)


def test_every_method_starts_from_its_seeds_float_network() -> None:
    runs = method_runs(Recipe(), Start(100), 8, (0, 1), (4, 2))
    assert len(runs) == 2 * (1 + 2 * 3)
    by_name = {run.name: run for run in runs}
    assert all(by_name[run.after].recipe.seed == run.recipe.seed for run in runs if run.after)
    assert {run.recipe.train.epochs for run in runs if run.after.startswith("float")} == {8}
    rounded = by_name["post-training-2bit-seed1"]
    assert (rounded.after, rounded.recipe.train.epochs) == ("post-training-4bit-seed1", 0)
    assert by_name["float-seed1"].recipe.train.epochs == 100
    assert by_name["periodic-2bit-seed0"].recipe.regularizer.form == "latent"


def test_a_teacher_teaches_the_networks_without_a_grid_alone(tmp_path: Path) -> None:
    start = Start(100, 24, (str(tmp_path),))
    with pytest.raises(FormatError, match="not the folder of an edgeq build or training"):
        method_runs(Recipe(), start, 8, (3, 5), (4,))
    wide = Recipe(model="wrn16_4", train=TrainRecipe(epochs=30))
    (tmp_path / "recipe.toml").write_text(recipe_to_toml(wide))
    (tmp_path / "checkpoint.safetensors").touch()
    write_manifest(tmp_path / "manifest.json", {"schema": SCHEMA, **manifest(90, before=93)})
    runs = method_runs(Recipe(), start, 8, (3, 5), (4,))
    assert [run.name for run in runs[:2]] == ["float-seed3", "float-seed5"]
    for run in runs[:2]:
        train = run.recipe.train
        assert (train.teachers, train.distillation, train.distillation_temperature) == ((str(tmp_path),), 0.9, 4)
        assert (train.epochs, train.initial_image_size) == (100, 24)
    assert {(run.recipe.train.teachers, run.recipe.train.initial_image_size) for run in runs[2:]} == {((), 0)}
    told = "100 epochs without a grid (images of 24 pixels at first), taught by wrn16_4 (30 epochs, 93.00 %)"
    assert start.text() == told
    assert Start(7).text() == "7 epochs without a grid"


def test_the_control_is_the_plain_training_before_it_is_rounded() -> None:
    comparison = make_comparison(sweep(), Start(100), 8, (0, 1), (8, 4, 2))
    row, control = comparison.rows[:2]
    assert (row.method, row.accuracy) == ("float", 91)
    assert control.method == "float, trained on"
    assert control.accuracy == pytest.approx(91.2)
    by = {(row.method, row.bits): row for row in comparison.rows}
    periodic = by["periodic", 4]
    assert comparison.to_float(periodic) == pytest.approx(-0.05)
    assert comparison.to_float(periodic, trained_on=True) == pytest.approx(-0.25)


def test_all_that_is_asked_can_hold() -> None:
    comparison = make_comparison(sweep(), Start(100), 8, (0, 1), (8, 4, 2))
    assert len(comparison.claims) == 3 * 3 + 2
    assert all(claim.holds for claim in comparison.claims)
    assert "no " not in [line[:3] for line in str(comparison).splitlines()]


@pytest.mark.parametrize(
    ("changed", "claim"),
    [
        ({"periodic_8": (90.85, 90.9), "straight_through_8": (90.0, 90.0)}, "8 bits: at most 0.1 points below float"),
        ({"periodic_4": (90.6, 90.75), "straight_through_4": (90.0, 90.0)}, "4 bits: at most 0.3 points below float"),
        ({"periodic_2": (89.6, 89.3), "straight_through_2": (89.0, 89.0)}, "2 bits: at most 1.5 points below float"),
        ({"straight_through_4": (90.96, 90.96)}, "4 bits: not below straight-through"),
        ({"periodic_2": (math.nan, 91)}, "2 bits: not below straight-through"),
    ],
)
def test_what_does_not_hold_is_told(changed: dict[str, tuple[float, float]], claim: str) -> None:
    comparison = make_comparison(sweep(**changed), Start(100), 8, (0, 1), (8, 4, 2))
    assert claim in [made.text for made in comparison.claims if not made.holds]
    if not any(math.isnan(value) for values in changed.values() for value in values):
        assert [made.text for made in comparison.claims if not made.holds] == [claim]


def test_a_snap_that_helps_one_seed_and_harms_another_is_no_snap_that_changes_nothing() -> None:
    found = sweep()
    for seed, before in ((0, 91.15), (1, 90.75)):
        found.manifests[f"periodic-4bit-seed{seed}"] = manifest(90.95, before=before)
    claims = {claim.text: claim for claim in make_comparison(found, Start(100), 8, (0, 1), (4,)).claims}
    assert claims["4 bits: at most 0.1 points by the snap"].measured == pytest.approx(0.2)
    assert not claims["4 bits: at most 0.1 points by the snap"].holds


def test_a_failed_run_is_null_and_meets_nothing() -> None:
    found = sweep()
    del found.manifests["periodic-2bit-seed1"]
    comparison = make_comparison(found, Start(100), 8, (0, 1), (8, 4, 2))
    lines = list(map(str.split, str(comparison).splitlines()))
    assert ["float", "32", "91.00", "+0.00", "-0.20"] in lines
    assert ["periodic", "4", "90.95", "90.95", "90.95", "-0.05", "-0.25", "+0.00", "0.0025", "0.3:", "yes"] in lines
    assert ["periodic", "2", *["failed"] * 5, "1.5:", "no"] in lines
    stored = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    row = next(row for row in stored["rows"] if (row["method"], row["bits"]) == ("periodic", 2))
    assert (row["tflite"], row["accuracy"], row["to_float"]) == ([90.95, None], None, None)
    (claim,) = [claim for claim in stored["claims"] if claim["text"] == "2 bits: at most 1.5 points below float"]
    assert claim == {"text": claim["text"], "measured": None, "bound": 1.5, "holds": False}
