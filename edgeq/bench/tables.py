"""What a bench found, in tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeq.display.summary import Summary, Table, table

if TYPE_CHECKING:
    from edgeq.bench.board import Measured
    from edgeq.bench.compare import Pair
    from edgeq.bench.estimate import Estimate
    from edgeq.bench.result import Agreement, EmulatedLane, Emulation

__all__ = ["comparison_summary", "emulation_summary", "measurement_summary", "operations_summary"]


def emulation_summary(found: Emulation) -> Summary:
    """One table a target: a column a lane."""
    rows = [["runtime", *(row.about for row in found.lanes)]]
    rows.append(["output", *(_agreement(row) for row in found.lanes)])
    rows.append(["instructions", *(f"{row.counts.total:,}{'' if row.repeats else ' about'}" for row in found.lanes)])
    for name in found.lanes[0].counts.instructions:
        rows.append([f"  {name}", *(_share(row.counts.instructions[name], row.counts.total) for row in found.lanes)])
    rows.append(["multiply-accumulates", *(f"{row.counts.macs:,}" for row in found.lanes)])
    rows.append(["  by", *(_forms(row) for row in found.lanes)])
    rows.append(["  an instruction", *(f"{row.counts.macs_per_instruction:.2f}" for row in found.lanes)])
    rows.append(
        ["loaded, stored", *(f"{row.counts.bytes_loaded:,}, {row.counts.bytes_stored:,} B" for row in found.lanes)]
    )
    rows.append(["hot kernels", *(_kernels(row) for row in found.lanes)])
    rows.append(["estimate, one core", *(_estimate(row.estimate) for row in found.lanes)])
    undecoded = [row for row in found.lanes if row.counts.undecoded]
    return (
        table("", [f"{found.target}, QEMU", *(row.lane for row in found.lanes)], rows),
        *dict.fromkeys(row.estimate.basis for row in found.lanes if row.estimate),
        *(f"{row.lane}: {row.counts.undecoded:,} instructions are not known to the disassembler" for row in undecoded),
        *(f"{name} was not run: {reason}" for name, reason in found.left_out.items()),
    )


def operations_summary(found: Emulation) -> Summary:
    """A row an operation: a count and a share a lane."""
    parts: list[Table | str] = []
    for lane in found.lanes:
        if not lane.operations:
            continue
        total = sum(row.counts.total for row in lane.operations) or 1
        times = sum(row.estimate.mid_ms for row in lane.operations if row.estimate) or 1.0
        rows = [
            [
                str(row.index),
                row.kind,
                row.name,
                f"{row.macs:,}" if row.macs else "",
                f"{row.bytes:,}",
                f"{row.counts.total:,}",
                f"{100 * row.counts.total / total:.1f} %",
                f"{100 * row.estimate.mid_ms / times:.1f} %" if row.estimate else "",
                f"{100 * row.peak_share:.0f} %" if row.peak_share else "",
                _short(row.kernel),
            ]
            for row in lane.operations
        ]
        title = f"{found.target}, {lane.lane}: operation by operation"
        columns = ["", "operation", "output", "MACs", "bytes", "instructions", "", "time", "of peak", "kernel"]
        parts.append(table(title, columns, rows, right={0, 3, 4, 5, 6, 7, 8}))
        apart = total / lane.counts.total - 1
        parts.append(f"together {total:,} instructions, {100 * apart:+.1f} % of the whole file's")
    return tuple(parts)


def comparison_summary(lane: str, target: str, pairs: Sequence[Pair], worst: Pair | None) -> Summary:
    """A row an operation of either file, and a line about the one that costs."""
    rows = []
    for pair in pairs:
        first, second = (row.counts.total if row else None for row in (pair.first, pair.second))
        cells = ["" if value is None else f"{value:,}" for value in (first, second)]
        rows.append([pair.name, *cells, f"{pair.instructions:+,}"])
    columns = [f"{target}, {lane}", "first", "second", "second - first"]
    shown = table("", columns, rows, right={1, 2, 3})
    if worst is None:
        return shown, "both execute the same instructions, operation by operation"
    total = sum(pair.first.counts.total for pair in pairs if pair.first) or 1
    more = "more" if worst.instructions > 0 else "fewer"
    only = "" if worst.first and worst.second else f", which only the {'first' if worst.first else 'second'} file has"
    share = 100 * abs(worst.instructions) / total
    return (
        shown,
        f"{worst.name}{only}: {abs(worst.instructions):,} {more} instructions in the second file, "
        f"{share:.2f} % of the first",
    )


def measurement_summary(found: Measured) -> Summary:
    """One table: time, its spread, and what the device was like."""
    measured = found.measurement
    latency, power = measured.latency, measured.power
    rows = [
        ["runtime", f"{found.about}, {measured.threads} thread{'s' if measured.threads > 1 else ''}"],
        ["device", measured.machine],
        ["output", _agreement_text(found.agreement)],
        ["runs", f"{latency.runs} after {measured.warm_up} to warm up"],
    ]
    for name in ("p50", "p90", "p99"):
        percentile = getattr(latency, name)
        known = percentile.low_ns is not None and percentile.high_ns is not None
        interval = f"95 % in {percentile.low_ns / 1e6:.4g} to {percentile.high_ns / 1e6:.4g}" if known else "few runs"
        rows.append([name, f"{percentile.value_ns / 1e6:.4g} ms ({interval})"])
    rows.append(["spread, drift", f"{100 * latency.spread:.1f} %, {100 * latency.drift:+.1f} %"])
    energy = measured.power_note if power is None else f"{1e3 * power.energy_j:.4g} mJ an inference ({power.sensor})"
    rows.append(["energy", energy])
    rows += [["not to be trusted", flag] for flag in measured.flags]
    return (table("", [f"{found.target}, {measured.via}", "measured"], rows),)


def _agreement(row: EmulatedLane) -> str:
    return _agreement_text(row.agreement)


def _agreement_text(found: Agreement) -> str:
    samples = f"{found.samples} {'golden' if found.golden else 'random'} samples"
    if found.equal:
        return f"equal bytes, {samples}"
    off = f"{found.difference:g} {found.unit} off, {samples}"
    if found.gaps is None:
        return f"{off}; operations were not compared"
    worst = max((gap.difference for gap in found.gaps), default=0.0)
    return f"{off}; {worst:g} at most an operation"


def _share(part: int, total: int) -> str:
    return f"{100 * part / (total or 1):5.1f} %  {part:,}"


def _forms(row: EmulatedLane) -> str:
    done = sum(row.macs_by_form.values()) or 1
    shown = [f"{form} {100 * macs / done:.1f} %" for form, macs in list(row.macs_by_form.items())[:3]]
    return ", ".join(shown) or "none"


def _kernels(row: EmulatedLane) -> str:
    return ", ".join(f"{_short(name)} {100 * share:.0f} %" for name, share in row.kernels[:2]) or "not named"


def _estimate(found: Estimate | None) -> str:
    if found is None:
        return "no cost table"
    energy = "" if found.low_mj is None else f", {found.low_mj:.3g} to {found.high_mj:.3g} mJ"
    return f"{found.low_ms:.3g} to {found.high_ms:.3g} ms{energy}"


def _short(name: str) -> str:
    """A C++ name without its template's and function's arguments."""
    while (shorter := re.sub(r"<[^<>]*>|\((?!anonymous)[^()]*\)", "", name)) != name:
        name = shorter
    return name.split()[-1] if name.split() else name
