from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from bench_results import emulation, lane

from edgeq.bench.baseline import check_baseline, read_baseline, write_baseline
from edgeq.bench.lanes import find_lanes
from edgeq.errors import FormatError, VerifyError
from edgeq.targets import load_target

RECORDED = Path(__file__).parents[2] / "docs" / "results" / "bench-qemu-baseline.json"


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, int]:
    path = tmp_path / "folder" / "baseline.json"
    write_baseline([emulation(lane(total=100_000))], path)
    assert [item.name for item in path.parent.iterdir()] == ["baseline.json"]
    return read_baseline(path)


@pytest.mark.parametrize("total", [1, 100_000, 100_500])
def test_as_many_or_up_to_half_a_percent_more_pass(recorded: dict[str, int], total: int) -> None:
    check_baseline([emulation(lane(total=total))], recorded)


def test_more_is_an_error_with_the_rise(recorded: dict[str, int]) -> None:
    message = r"cortex-a75/litert: more instructions.*got 100,501, 0\.50 % more, wanted at most 100,500"
    with pytest.raises(VerifyError, match=message):
        check_baseline([emulation(lane(total=100_501))], recorded)


def test_a_lane_that_was_not_recorded_is_an_error(recorded: dict[str, int]) -> None:
    with pytest.raises(FormatError, match=r"cortex-a7/litert: no baseline.*--record-baseline"):
        check_baseline([emulation(lane(), target="cortex-a7")], recorded)


def test_a_recorded_lane_that_cannot_run_the_file_is_an_error(recorded: dict[str, int]) -> None:
    found = dataclasses.replace(emulation(lane(name="other")), left_out={"litert": "no GELU"})
    with pytest.raises(VerifyError, match=r"cortex-a75/litert: a recorded lane was not run \(got no GELU"):
        check_baseline([found], recorded)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema": 1, "instructions": {"a": "b"}}', '{"schema": 2, "instructions": {}}']
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(FormatError, match="no JSON" if not content else "is no baseline"):
        read_baseline(path)
    with pytest.raises(FormatError, match="cannot be read"):
        read_baseline(tmp_path / "absent.json")


@pytest.mark.skipif(not RECORDED.is_file(), reason="docs/results is not part of a source package")
def test_the_recorded_baseline_knows_every_lane_of_both_targets() -> None:
    wanted = {f"{name}/{lane.name}" for name in ("cortex-a75", "cortex-a7") for lane in find_lanes(load_target(name))}
    assert set(read_baseline(RECORDED)) == wanted
