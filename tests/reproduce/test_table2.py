"""Table 2: the runs are the paper's cells, and the verdict on the shape follows the figures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from edgeq.recipe import Recipe
from edgeq.regularize import AmplitudeSchedule
from edgeq.reproduce.table2 import SETTINGS, make_table2, table2_runs
from edgeq.reproduce.table3 import table3_runs
from edgeq.sweep import Run, Sweep
from edgeq.train.optimizer import rate_factor


def manifest(snapped: float) -> dict[str, Any]:
    layers = [{"shape": [10], "distance": 0.1}, {"shape": [3, 10], "distance": 0.2}]
    return {
        "accuracy": {"float": snapped + 1, "snapped": snapped, "tflite": snapped - 1},
        "layers": layers,
        "artifacts": [{"path": "model.tflite", "bytes": 5}],
    }


def papers_sweep(**changed: float) -> Sweep:
    manifests = {f"{s.name}-seed0": manifest(changed.get(s.name, s.paper)) for s in SETTINGS}
    return Sweep(manifests | {"default-seed0": manifest(83.72)})


def test_the_runs_are_the_papers_cells() -> None:
    runs = table2_runs(Recipe(), 100, (0, 1))
    assert len({run.name for run in runs}) == len(runs) == 18
    (cell,) = [run for run in runs if run.name == "dynamic-4bit-0.001-seed1"]
    assert (cell.recipe.bits, cell.recipe.seed, cell.recipe.train.batch_size) == (4, 1, 256)
    (default,) = [run for run in runs if run.name == "default-seed0"]
    assert default.recipe.method == "post-training"
    assert {run.recipe.quantize.batch_norm_images for run in runs} == {0}, "the paper rounds, and that is all"
    assert cell.recipe.regularizer.scale_update == "differentiated", "the paper's snippet does not detach its max"


@pytest.mark.parametrize(
    ("runs", "epochs", "tenths"),
    [(table2_runs, 100, [30, 60, 90]), (table3_runs, 90, [30, 60]), (table2_runs, 10, [3, 6, 9])],
)
def test_the_rate_falls_to_a_tenth_every_30_epochs_or_as_large_a_share(
    runs: Callable[..., list[Run]], epochs: int, tenths: list[int]
) -> None:
    for run in runs(Recipe(), epochs, (0,)):
        rates = [
            rate_factor(epoch, epochs, run.recipe.train) * run.recipe.train.learning_rate_for()
            for epoch in range(epochs)
        ]
        assert [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]] == tenths
        assert rates[0] == 0.1
        assert rates[-1] == pytest.approx(0.1 * 0.1 ** len(tenths))


@pytest.mark.parametrize("epochs", [1, 2, 5, 11, 20, 100])
def test_a_dynamic_amplitude_rises_as_far_in_few_epochs_as_in_many(epochs: int) -> None:
    (cell,) = [run for run in table2_runs(Recipe(), epochs, (0,)) if run.name == "dynamic-4bit-0.001-seed0"]
    schedule = AmplitudeSchedule.from_recipe(cell.recipe.regularizer, 4, epochs, 196)
    amplitudes = [schedule.at(epoch) for epoch in range(epochs)]
    assert amplitudes[-1] == 0.001
    assert amplitudes[0] == pytest.approx(0.001 / 1024 if epochs > 1 else 0.001)
    raises = [b / a for a, b in itertools.pairwise(amplitudes) if b > a]
    assert len(raises) <= 10
    assert all(b / a == pytest.approx(raises[0]) or b == a for a, b in itertools.pairwise(amplitudes))


def test_the_papers_own_figures_have_the_papers_shape() -> None:
    table = make_table2(papers_sweep(), 100, (0,))
    assert table.shape == {
        "accuracy_rises_as_the_amplitude_falls": True,
        "dynamic_beats_fixed": True,
        "4_and_2_bits_collapse": True,
    }
    assert [row.mean for row in table.rows] == [84.72, *(setting.paper for setting in SETTINGS)]
    assert table.rows[1].distance == pytest.approx((0.175,))


@pytest.mark.parametrize(
    ("cell", "accuracy", "claim"),
    [
        ("fixed-8bit-0.1", 60.0, "accuracy_rises_as_the_amplitude_falls"),
        ("dynamic-8bit-0.01", 58.0, "dynamic_beats_fixed"),
        ("dynamic-2bit-0.001", 40.0, "4_and_2_bits_collapse"),
    ],
)
def test_one_cell_out_of_line_is_told(cell: str, accuracy: float, claim: str) -> None:
    assert not make_table2(papers_sweep(**{cell: accuracy}), 100, (0,)).shape[claim]


def test_a_diverged_run_is_null_in_json_and_counts_as_nothing() -> None:
    sweep = papers_sweep()
    del sweep.manifests["fixed-8bit-0.1-seed0"]
    sweep.failures["fixed-8bit-0.1-seed0"] = "training diverged"
    table = make_table2(sweep, 100, (0,))
    row = json.loads(json.dumps(table.to_dict(), allow_nan=False))["rows"][1]
    assert row["snapped"] == [None]
    assert (table.rows[1].mean, table.shape["dynamic_beats_fixed"]) == (0, True)
    assert ["fixed", "8", "0.1", "29.26", "0.00", "failed", "failed"] in list(map(str.split, str(table).splitlines()))
    assert str(table).endswith("failed  fixed-8bit-0.1-seed0: training diverged")


def test_the_table_is_shown_beside_the_papers() -> None:
    table = make_table2(papers_sweep(**{"dynamic-8bit-0.01": 58.0}), 100, (0,))
    lines = list(map(str.split, str(table).splitlines()))
    assert ["dynamic", "8", "0.01", "74.14", "58.00", "59.00", "0.175"] in lines
    assert ["default", "84.72", "84.72", "84.72"] in lines
    assert ["no", "dynamic", "beats", "fixed"] in lines
    assert '<td style="text-align: right">74.14</td>' in table._repr_html_()
