from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from bench_results import emulation, lane

from edgeq.bench.record import record
from edgeq.bench.result import Emulation
from edgeq.errors import FormatError

SHA = "ab" * 32


def result(total: int, target: str = "cortex-a75", sha256: str = SHA) -> Emulation:
    return dataclasses.replace(emulation(lane(total=total), target=target), sha256=sha256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest = {"schema": 1, "seed": 7, "artifacts": [{"path": "model.tflite", "sha256": SHA}], "bench": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_the_latest_of_each_lane_is_kept_and_all_else(folder: Path) -> None:
    record(folder, [result(5), result(6, "cortex-a7")])
    record(folder, [result(4)])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seed"] == 7
    found = [(entry["target"], entry["lane"], entry["instructions"]) for entry in manifest["bench"]]
    assert found == [("cortex-a7", "litert", 6), ("cortex-a75", "litert", 4)]
    entry = manifest["bench"][1]
    assert (entry["basis"], entry["via"], entry["estimate"]["label"]) == ("estimate", "qemu", "estimate")
    assert entry["estimate"]["low_ms"] < entry["estimate"]["high_ms"]


def test_figures_of_another_file_do_not_get_in(folder: Path) -> None:
    before = (folder / "manifest.json").read_text()
    with pytest.raises(FormatError, match="what was measured is not the file that the manifest tells of"):
        record(folder, [result(5), result(5, sha256="cd" * 32)])
    assert (folder / "manifest.json").read_text() == before
