"""What ``edgeq bench --save`` writes is read back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_results import emulation, lane, operation

from edgeq.bench.artifact import BenchResult
from edgeq.bench.board import Measured
from edgeq.bench.device_state import DeviceState
from edgeq.bench.measure import Measurement
from edgeq.bench.power import Power, Rail
from edgeq.bench.result import Agreement, Emulation, OperationGap
from edgeq.bench.results_file import read_bench
from edgeq.bench.sample_statistics import summarize
from edgeq.errors import FormatError


def measured() -> Measured:
    state = DeviceState({"0": 10}, {"0": 20}, {"0": "performance"}, {"0 cpu": 40.5}, {}, {}, ("under-voltage",))
    power = Power("ina226", "board", 1.0, 2.0, 0.001, 5, 0.1, (Rail("ina226", "board", 1.0, 2.0),))
    times = (1000, 1200, 1100)
    measurement = Measurement(
        "measured", "m", "ssh://a@b", "Linux", 1, 2, (0, 3), "", times, summarize(times), state, state, (), power, "", 4
    )
    agreement = Agreement(2, True, "codes", False, 1.0, (OperationGap("ADD", "sum", 1.0, "codes"),), True)
    return Measured("pi", "model.tflite", "ab" * 32, "litert", "LiteRT", agreement, measurement)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results: list[Emulation | Measured] = [emulation(lane([operation("ADD", 7)]), lane()), measured()]
    path = tmp_path / "bench.json"
    path.write_text(BenchResult(Path("a"), tuple(results), ()).to_json())
    assert read_bench(path) == results


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("{}", "has no results of a bench"),
        ("[]", "has no results of a bench"),
        ('{"results": []}', "has no results of a bench"),
        ('{"results": [1]}', "has no results of a bench"),
        ('{"results": [{"target": "a"}]}', "the key model is missing"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_something_else_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=words):
        read_bench(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_bench(tmp_path / "absent.json")
