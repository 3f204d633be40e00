"""Estimates of made-up blocks against sums by hand, and how they follow clock, cores, bytes and doubt."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.bench.estimate import estimate
from edgeq.bench.profile import Block, InstructionSet
from edgeq.cost_table import CLASSES, Cost, Pipeline
from edgeq.errors import EdgeqError
from edgeq.targets import DataType, Target, load_target, peak_ops

pytest.importorskip("capstone", reason="counting instructions needs capstone")

SDOT, FMLA, RET = (bytes.fromhex(code) for code in ("30e2824f", "20cc224e", "c0035fd6"))
CALIBRATION = Path(__file__).parents[2] / "docs" / "results" / "estimate-calibration.json"
BOARD = Target(
    schema=1,
    name="board",
    description="made up",
    isa="armv8.2-a",
    cores=4,
    clock_hz=1e9,
    watts_per_core=0.5,
    bandwidth_bytes_per_s=(1e9, 4e9),
    calibration_error=0.1,
    pipeline=Pipeline(1, in_order=True, source="made up"),
    costs=(
        Cost(("sdot.q",), (1.0, 4.0), "made up"),
        Cost(tuple(f"class:{name}" for name in CLASSES), (1.0,), "made up"),
    ),
    sources=dict.fromkeys(
        ("cores", "clock_hz", "watts_per_core", "bandwidth_bytes_per_s", "calibration_error"), "made up"
    ),
)
MILLION = Block(0, SDOT, "a64", 1_000_000)


def test_the_two_terms_and_their_interval_are_those_of_the_formula() -> None:
    found = estimate([MILLION], BOARD, 2_000_000)
    # 1 to 4 million cycles at 1 GHz are 1 to 4 ms; 2 MB at 1 to 4 GB/s are 0.5 to 2 ms; 10 % are added at the ends.
    assert found.compute_ms == pytest.approx(2)
    assert found.memory_ms == pytest.approx(1)
    assert found.low_ms == pytest.approx(1.5 * 0.9)
    assert found.mid_ms == pytest.approx(3)
    assert found.high_ms == pytest.approx(6 * 1.1)
    assert found.mid_mj == pytest.approx(0.5 * 3)
    assert found.high_mj == pytest.approx(0.5 * 6.6)
    assert (found.label, found.cores, found.clock_hz, found.memory_bytes) == ("estimate", 1, 1e9, 2_000_000)
    assert found.cycles == pytest.approx(2e6)


def test_clock_and_cores_divide_the_computing_and_nothing_else() -> None:
    one = estimate([MILLION], BOARD, 2_000_000)
    four = estimate([MILLION], BOARD, 2_000_000, cores=4, clock_hz=0.5e9)
    assert four.compute_ms == pytest.approx(one.compute_ms * 2 / 4)
    assert four.memory_ms == pytest.approx(one.memory_ms)
    assert four.mid_mj == pytest.approx(4 * 0.5 * four.mid_ms)


def test_passes_are_of_the_blocks_and_the_bytes_of_one() -> None:
    once = estimate([MILLION], BOARD, 2_000_000)
    thrice = estimate([dataclasses.replace(MILLION, executions=3_000_000)], BOARD, 2_000_000, passes=3)
    assert thrice.mid_ms == pytest.approx(once.mid_ms)


def test_the_basis_says_what_it_is_and_what_it_rests_on() -> None:
    basis = estimate([MILLION], BOARD, 0, cores=2).basis
    assert basis.startswith("estimate, not measured")
    for part in ("cost table of board", "2 cores at 1 GHz", "calibration error 10%: made up", "energy at 1 W"):
        assert part in basis


def test_an_assumed_cost_under_the_multiply_accumulates_is_said() -> None:
    a75 = load_target("cortex-a75")
    sdot = Block(0, SDOT, "a64", 1_000_000)
    assert "sdot.q does 100% of the multiply-accumulates, and its cost is assumed" in estimate([sdot], a75, 0).basis
    fmla = dataclasses.replace(sdot, code=FMLA)
    assert "is assumed" not in estimate([fmla], a75, 0).basis


def test_what_a_target_does_not_know_is_left_out_and_said() -> None:
    bare = dataclasses.replace(
        BOARD,
        watts_per_core=None,
        bandwidth_bytes_per_s=(),
        calibration_error=None,
        sources={"cores": "made up", "clock_hz": "made up"},
    )
    found = estimate([MILLION], bare, 2_000_000)
    assert found.low_mj is found.mid_mj is found.high_mj is found.calibration_error is None
    assert found.memory_ms == 0
    assert found.low_ms == pytest.approx(1)
    for part in ("memory not counted", "not calibrated on this device", "power not known"):
        assert part in found.basis


@given(
    st.lists(st.tuples(st.sampled_from([SDOT, FMLA, RET, b"\xff" * 4]), st.integers(1, 10**9)), max_size=5),
    st.integers(0, 10**9),
    st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_an_estimate_is_always_an_interval_around_its_middle(
    ran: list[tuple[bytes, int]], memory_bytes: int, cores: int
) -> None:
    found = estimate([Block(0, code, "a64", times) for code, times in ran], BOARD, memory_bytes, cores=cores)
    assert 0 <= found.low_ms <= found.mid_ms <= found.high_ms < math.inf
    assert found.mid_ms == pytest.approx(found.compute_ms + found.memory_ms)
    if ran or memory_bytes:
        assert found.low_ms < found.high_ms


@pytest.mark.parametrize("name", ["host", "tesla-t4"])
def test_a_target_without_costs_says_so(name: str) -> None:
    with pytest.raises(EdgeqError, match=f"target {name}: no estimate without"):
        estimate([MILLION], load_target(name), 0)


@pytest.mark.parametrize("options", [{"cores": 0}, {"passes": 0}, {"clock_hz": 0.0}, {"clock_hz": math.inf}])
def test_impossible_numbers_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(EdgeqError, match="cannot be estimated"):
        estimate([MILLION], BOARD, 0, **options)
    with pytest.raises(EdgeqError, match="cannot be estimated"):
        estimate([MILLION], BOARD, -1)


def test_a_loop_of_the_paper_runs_at_the_papers_peak() -> None:
    """The cost table and Table 1 are in one file and must not differ."""
    loops: list[tuple[str, DataType, bytes, InstructionSet, int]] = [
        ("cortex-a75", "fp32", FMLA, "a64", 4),
        ("cortex-a75", "int8", bytes.fromhex("2080220e"), "a64", 8),  # smlal v0.8h, v1.8b, v2.8b
        ("cortex-a7", "fp32", bytes.fromhex("d20d42f2"), "a32", 4),  # vmla.f32 q8, q9, q1
        ("cortex-a7", "int8", bytes.fromhex("030882f2"), "a32", 8),  # vmlal.s8 q0, d2, d3
    ]
    for name, data_type, code, instruction_set, macs in loops:
        target = load_target(name)
        assert target.cores is not None
        block = Block(0, code * 12, instruction_set, 1_000_000)
        found = estimate([block], target, 0, cores=target.cores)
        peak = peak_ops(target, data_type)
        assert 12e6 * macs / (found.mid_ms / 1000) == pytest.approx(peak), (name, data_type)


@pytest.mark.skipif(not CALIBRATION.is_file(), reason="docs/results is not part of a source package")
@pytest.mark.parametrize("name", ["cortex-a7", "cortex-a75"])
def test_a_targets_calibration_error_is_that_of_the_recorded_rows(name: str) -> None:
    """Recorded by tests/benchmarks/calibrate_estimate.py; the target's file rounds up to a whole percent."""
    recorded = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    rows = [row for row in recorded["rows"] if row["target"] == name]
    worst = max(abs(row["ratio"] - 1) for row in rows if row["role"] == "test")
    assert load_target(name).calibration_error == pytest.approx(math.ceil(100 * worst) / 100)
    assert all(abs(row["ratio"] - 1) <= recorded["limit"] for row in rows if row["role"] != "limit")
    assert {"fit", "test"} <= {row["role"] for row in rows}
