"""The tables of long sweeps on docs/results.md are what their JSON gives."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from docs_pages import ROOT
from test_methods import sweep
from test_table2 import papers_sweep

from edgeq.reproduce.comparison import StorageRow
from edgeq.reproduce.methods import make_comparison
from edgeq.reproduce.start import Start
from edgeq.reproduce.table2 import make_table2

HEAD = {"command": "make it", "machine": "a machine"}


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    return importlib.import_module("record_table")


def rows(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in "\n".join(lines).splitlines() if "|" in line]


def test_the_methods_have_what_was_asked_beside_what_was_measured(record: Any) -> None:
    stored = (
        StorageRow(8, False, {"int8": 22}, 300_000, 340_000, 0.1, 1.0),
        StorageRow(2, True, {"int2": 1, "int4": 21}, 170_000, 200_000, 0.45, 4.5, ("no kernel takes 2 bits",)),
    )
    found = sweep(periodic_2=(89.5, 89.3))
    del found.manifests["periodic-8bit-seed0"]
    comparison = make_comparison(found, Start(100), 8, (0, 1), (8, 4, 2), stored)
    lines = record.methods(HEAD | json.loads(json.dumps(comparison.to_dict(), allow_nan=False)))
    assert lines[0].startswith("`make it`, mean of seeds 0, 1, a machine. 100 epochs without a grid, then 8")
    table = rows(lines)
    assert ["float", "", "91.00 %", "", "", "+0.00", "-0.20", "", "", ""] in table
    assert ["periodic", "4", "90.95 %", "90.95 %", "90.95 %", "-0.05", "-0.25", "+0.00", "0.0025", "0.3: yes"] in table
    assert ["periodic", "8", "failed", "failed", "failed", "", "", "failed", "failed", "0.1: no"] in table
    assert ["float: at least 90.5 %", "91.00 %", "yes"] in table
    assert ["2 bits: at most 1.5 points below float", "1.6", "no"] in table
    assert ["8 bits: at most 0.1 points below float", "failed", "no"] in table
    assert ["2", "21 int4, 1 int2", "170,000 B", "200,000 B", "0.450 ms", "4.50"] in table
    assert lines[-1] == "Why not fewer: no kernel takes 2 bits."


def test_table_2_has_the_papers_figures_beside(record: Any) -> None:
    found = make_table2(papers_sweep(**{"dynamic-8bit-0.01": 58.0}), 10, (0,))
    lines = record.table2(HEAD | json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert ["dynamic", "8", "0.01", "74.14 %", "58.00 %", "59.00 %", "0.175"] in rows(lines)
    assert ["without the term", "", "", "84.72 %", "84.72 %", "84.72 %", ""] in rows(lines)
    assert "- dynamic beats fixed: no" in lines


def test_runs_that_failed_for_one_reason_share_a_line(record: Any) -> None:
    found = make_table2(papers_sweep(), 10, (0,))
    found.failures.update({"a-seed0": "edgeq: error: too thin", "a-seed1": "edgeq: error: too thin", "b-seed0": "full"})
    lines = record.table2(HEAD | json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert lines[-2:] == ["- failed: a-seed0, a-seed1: too thin", "- failed: b-seed0: full"]


@pytest.mark.parametrize("name", ["methods", "table2", "compression", "compression-lenet5"])
def test_the_page_is_what_the_kept_table_gives(name: str, record: Any) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    written = page.split(f"<!-- {name}: begin -->\n")[1].split(f"<!-- {name}: end -->")[0]
    assert written == record.section(name) + "\n", "run: python tests/benchmarks/record_table.py"
