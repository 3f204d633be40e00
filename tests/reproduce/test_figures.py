"""Figures 1 to 7: the functions have their zeros where the grid has points, and bars are as high as the figures say."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeq.cli.reproduce import command
from edgeq.grid import Function
from edgeq.recipe import Recipe
from edgeq.reproduce import reproduce_figures
from edgeq.reproduce.figures import draw_function
from edgeq.reproduce.table2 import SETTINGS
from edgeq.reproduce.table3 import CELLS, make_table3, table3_runs
from edgeq.sweep import Sweep

SVG = "{http://www.w3.org/2000/svg}"


def leave_run(folder: Path, name: str, accuracy: dict[str, Any]) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "manifest.json").write_text(json.dumps({"schema": 1, "accuracy": accuracy}))


def bars(file: Path) -> dict[str, float]:
    """The heights of the bars by what they say when pointed at, the legend's left out."""
    found = ET.fromstring(file.read_text()).iter(f"{SVG}rect")
    heights = {str(rect.findtext(f"{SVG}title")): float(rect.get("height", "nan")) for rect in found}
    return {label: height for label, height in heights.items() if "%" in label}


@pytest.mark.parametrize(
    ("number", "function", "frequency", "points"),
    [(1, "sine", 1, 3), (1, "sine", 7, 15), (2, "cosine", 1, 2), (2, "cosine", 8, 16), (3, "hat", 7, 15)],
)
def test_the_curve_touches_zero_as_often_as_the_paper_counts(
    number: int, function: Function, frequency: int, points: int
) -> None:
    root = ET.fromstring(draw_function(number, function, [frequency]))
    (curve,) = [item for item in root.iter(f"{SVG}path") if item.get("stroke") == "#3b82f6"]
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", curve.get("d", ""))]
    low = [height > 149 for height in heights]  # the base line is at 150, and down is up
    starts = sum(now and not before for before, now in zip([False, *low], low, strict=False))
    assert starts == points


def test_without_runs_the_first_three_are_drawn_and_the_others_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["figures", "--out", str(tmp_path / "f"), "--json"])
    found = json.loads(result.stdout)
    assert set(found["files"]) == {"1", "2", "3"}
    assert set(found["left_out"]) == {"4", "5", "6", "7"}
    assert "edgeq reproduce table3" in found["left_out"]["7"]
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["figure1.svg", "figure2.svg", "figure3.svg"]


def test_the_bars_are_the_runs_means_and_the_papers_figures(tmp_path: Path) -> None:
    for seed in (0, 1):
        leave_run(tmp_path / "2", f"default-seed{seed}", {"float": 90.0, "snapped": 89.0})
        for cell in SETTINGS:
            leave_run(tmp_path / "2", f"{cell.name}-seed{seed}", {"float": 80.0, "snapped": 40.0 + 20 * seed})
    leave_run(tmp_path / "3", "default-seed0", {"float": 76.0, "snapped": 1.0})
    leave_run(tmp_path / "3", "sine-0.001-seed0", {"float": 76.0, "snapped": 75.0})
    found = reproduce_figures(tmp_path / "f", table2=tmp_path / "2", table3=tmp_path / "3")
    assert set(found.files) == set(range(1, 8))
    four = bars(found.files[4])
    assert four["Quant: snapped, 4 bits, here: 50.00 %"] == pytest.approx(2.3 * 50, abs=0.1)
    assert four["Quant: snapped, 4 bits, paper: 16.66 %"] == pytest.approx(2.3 * 16.66, abs=0.1)
    assert four["Regu: trained with the term, 2 bits, here: 80.00 %"] == pytest.approx(2.3 * 80, abs=0.1)
    five = bars(found.files[5])
    assert len(five) == 12
    assert "fixed amplitude, a = 0.1, paper: 29.26 %" in five
    assert "without the term, here: 90.00 %" in found.files[5].read_text()
    assert set(bars(found.files[7])) == {
        "sine, sine, a = 0.001, here: 75.00 %",
        "sine, sine, a = 0.001, paper: 75.77 %",
        "hat, hat, a = 0.001, paper: 75.57 %",
    }


def test_a_folder_without_finished_runs_is_said(tmp_path: Path) -> None:
    found = reproduce_figures(tmp_path / "f", table2=tmp_path / "none")
    assert str(tmp_path / "none") in found.left_out[4]


def test_table_3_has_the_papers_cells_and_both_accuracies() -> None:
    runs = table3_runs(Recipe(), 90, (0,))
    assert [run.name for run in runs] == ["default-seed0", *(f"{cell.name}-seed0" for cell in CELLS)]
    assert {(run.recipe.bits, run.recipe.train.epochs) for run in runs} == {(8, 90)}
    accuracy = {"float": 70.0, "snapped": 60.0, "top5": {"float": 90.0, "snapped": 80.0}}
    table = make_table3(Sweep({f"{cell.name}-seed0": {"accuracy": accuracy} for cell in CELLS}), "resnet50", 90, (0,))
    assert (table.rows[1].top1, table.rows[1].top5) == ((60.0,), (80.0,))
    rows = json.loads(json.dumps(table.to_dict(), allow_nan=False))["rows"]
    assert (rows[0]["top1"], rows[4]["paper_top5"]) == ([None], 92.58)
    assert "failed" in repr(table.summary())
