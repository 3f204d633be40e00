"""What a bench found: a row a device and runtime, and the operations of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.report.content import BenchedLane, OperationTime

__all__ = ["BenchRow", "OperationRow", "TimedLane", "bench_rows", "timed_lanes"]

MOST_COSTLY = 10
MOST_OPERATIONS = 400


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One device and runtime; what was not found out is empty."""

    device: str
    runtime: str
    time: str
    energy: str
    instructions: str
    agreement: str
    basis: str


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation with its share of all operations' time, and of the longest one's for the bar."""

    operation: OperationTime
    share: float
    bar: float


@dataclass(frozen=True, slots=True)
class TimedLane:
    """One runtime: its roofline, its costliest operations, all of them in order, and how many there are."""

    lane: BenchedLane
    costly: tuple[OperationRow, ...]
    rows: tuple[OperationRow, ...]
    total: int


def bench_rows(manifest: Mapping[str, Any]) -> list[BenchRow]:
    """A row an entry of the manifest's ``bench``."""
    return [_bench_row(entry) for entry in manifest.get("bench") or []]


def _bench_row(entry: Mapping[str, Any]) -> BenchRow:
    estimate = entry.get("estimate")
    if entry["basis"] == "measured":
        time = f"{entry.get('p50_ms', 0):.3g} ms median, {entry.get('p99_ms', 0):.3g} ms at 99 %"
        energy = "" if entry.get("energy_mj") is None else f"{entry['energy_mj']:.3g} mJ"
        threads = entry.get("threads", 1)
        basis = f"measured, {entry.get('runs', 0):,} runs on {threads} {'thread' if threads == 1 else 'threads'}"
        if entry.get("flags"):
            basis += f"; not to be trusted: {', '.join(entry['flags'])}"
    elif estimate is not None:
        time = f"{estimate['low_ms']:.3g} to {estimate['high_ms']:.3g} ms"
        known = estimate.get("low_mj") is not None and estimate.get("high_mj") is not None
        energy = f"{estimate['low_mj']:.3g} to {estimate['high_mj']:.3g} mJ" if known else ""
        basis = estimate["basis"]
    else:
        time, energy, basis = "", "", "counted"
    return BenchRow(
        device=f"{entry['target']}, {entry['via']}",
        runtime=entry["lane"],
        time=time,
        energy=energy,
        instructions=f"{entry['instructions']:,}" if entry.get("instructions") else "",
        agreement="the host's" if entry["equal_bytes"] else "not all the host's",
        basis=basis,
    )


def timed_lanes(lanes: Sequence[BenchedLane]) -> list[TimedLane]:
    """The operations of each runtime, with shares."""
    timed = []
    for lane in lanes:
        total = sum(operation.ms for operation in lane.operations) or 1.0
        longest = max((operation.ms for operation in lane.operations), default=0.0) or 1.0
        rows = tuple(
            OperationRow(operation, operation.ms / total, operation.ms / longest) for operation in lane.operations
        )
        costly = tuple(sorted(rows, key=lambda row: -row.share)[:MOST_COSTLY])
        timed.append(TimedLane(lane, costly, rows[:MOST_OPERATIONS], len(rows)))
    return timed
