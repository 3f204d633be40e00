"""How long an inference takes a device, and what energy: estimated from counted blocks, never measured.

    time = cycles / clock / cores  +  bytes from memory / bandwidth of the memory

Cycles are those of :mod:`edgeq.bench.block_cost`, bytes those of :mod:`edgeq.bench.memory_traffic`. What is in the
model and what is not stands in ``docs/explanation/estimate.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeq.bench.block_cost import CostTable
from edgeq.bench.instructions import decoded, macs_by_form
from edgeq.bench.profile import Block
from edgeq.cost_table import Pipeline, basis, find_cost
from edgeq.errors import EdgeqError
from edgeq.targets import Target

__all__ = ["Estimate", "estimate"]

_NOTABLE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time that was not measured: an interval and what it rests on.

    Attributes:
        low_ms, mid_ms, high_ms: of one inference. The ends are the bounds of the target's figures, widened by the
            calibration error; the middle is at the geometric mean of the figures' bounds.
        compute_ms, memory_ms: the two terms of ``mid_ms``.
        low_mj, mid_mj, high_mj: energy, the power of the busy cores times the time; None where the power is not known.
        cores: that it is for.
        clock_hz: that it is for.
        cycles: of all cores together, at the middle.
        memory_bytes: bytes that are taken to come from memory or go there.
        calibration_error: largest relative error on published times that nothing was fitted on; None where there are
            none.
        basis: in words, for whoever shows the figures.
        label: always ``estimate``.
    """

    low_ms: float
    mid_ms: float
    high_ms: float
    compute_ms: float
    memory_ms: float
    low_mj: float | None
    mid_mj: float | None
    high_mj: float | None
    cores: int
    clock_hz: float
    cycles: float
    memory_bytes: int
    calibration_error: float | None
    basis: str
    label: str = "estimate"


def estimate(
    blocks: Iterable[Block],
    target: Target,
    memory_bytes: int,
    *,
    passes: int = 1,
    cores: int = 1,
    clock_hz: float | None = None,
) -> Estimate:
    """Estimate one inference.

    Args:
        blocks: what ran, of all passes together; as a single thread ran it.
        target: a device with a cost table.
        memory_bytes: of one inference; see :func:`edgeq.bench.memory_traffic.memory_bytes`.
        passes: inferences that the blocks' counts are of.
        cores: that share the computing; its division is taken to be even and free. They share one memory.
        clock_hz: another clock than the target's.

    Raises:
        EdgeqError: the target has no cost table or no clock, a number is not positive, or capstone is missing.
    """
    clock_hz = target.clock_hz if clock_hz is None else clock_hz
    if target.pipeline is None or clock_hz is None:
        raise EdgeqError(
            "no estimate without clock_hz, a pipeline and costs",
            where=f"target {target.name}",
            remedy="add them to its file, or measure on a board",
        )
    if passes < 1 or cores < 1 or memory_bytes < 0 or not 0 < clock_hz < math.inf:
        got = f"{passes} passes, {cores} cores, {memory_bytes} bytes, {clock_hz:g} Hz"
        raise EdgeqError("cannot be estimated", where=f"target {target.name}", got=got)
    totals, assumed = _cycles(blocks, target, target.pipeline)
    low, high = (total / passes for total in totals)
    cycles = (low, math.sqrt(low * high), high)
    compute = [1e3 * value / clock_hz / cores for value in cycles]
    memory = [1e3 * memory_bytes / rate for rate in _rates(target.bandwidth_bytes_per_s)]
    error = target.calibration_error or 0.0
    times = (
        (compute[0] + memory[0]) * (1 - error),
        compute[1] + memory[1],
        (compute[2] + memory[2]) * (1 + error),
    )
    watts = _busy_watts(target, cores)
    low_mj, mid_mj, high_mj = (None if watts is None else watts * ms for ms in times)
    return Estimate(
        *times,
        compute_ms=compute[1],
        memory_ms=memory[1],
        low_mj=low_mj,
        mid_mj=mid_mj,
        high_mj=high_mj,
        cores=cores,
        clock_hz=clock_hz,
        cycles=cycles[1],
        memory_bytes=memory_bytes,
        calibration_error=target.calibration_error,
        basis=_basis(target, cores, clock_hz, watts, assumed),
    )


def _cycles(
    blocks: Iterable[Block], target: Target, pipeline: Pipeline
) -> tuple[tuple[float, float], list[tuple[str, float]]]:
    """Cycles of all blocks at the lower and at the upper bounds of the costs, each distinct code costed once; and the
    forms of assumed cost that do a tenth or more of the multiply-accumulates, with their shares."""
    blocks = tuple(blocks)
    tables = [CostTable(pipeline, target.costs, bound) for bound in ("low", "high")]
    totals = [0.0, 0.0]
    for instructions, times in decoded(blocks):
        for index, table in enumerate(tables):
            totals[index] += times * table.cycles(instructions)
    macs = macs_by_form(blocks)
    whole = sum(macs.values())
    assumed = [
        (form, count / whole)
        for form, count in macs.items()
        if count / whole >= _NOTABLE_SHARE and basis(find_cost(target.costs, form, "mac").source) == "assumed"
    ]
    return (totals[0], totals[1]), assumed


def _rates(bandwidth: tuple[float, ...]) -> tuple[float, float, float]:
    """Bytes a second for the low, middle and high time; memory costs nothing where its bandwidth is not known."""
    if not bandwidth:
        return math.inf, math.inf, math.inf
    return bandwidth[-1], math.sqrt(bandwidth[0] * bandwidth[-1]), bandwidth[0]


def _busy_watts(target: Target, cores: int) -> float | None:
    return target.board_watts if target.watts_per_core is None else target.watts_per_core * cores


def _basis(
    target: Target, cores: int, clock_hz: float, watts: float | None, assumed: Sequence[tuple[str, float]]
) -> str:
    parts = [f"estimate, not measured: instructions counted under QEMU x the cost table of {target.name}"]
    if target.bandwidth_bytes_per_s:
        parts[0] += " + bytes that miss the last cache / bandwidth of the memory"
    else:
        parts.append("memory not counted, for the target names no bandwidth")
    parts.append(f"{cores} {'core' if cores == 1 else 'cores'} at {clock_hz / 1e9:g} GHz")
    if target.calibration_error is None:
        parts.append("not calibrated on this device")
    else:
        source = target.sources["calibration_error"]
        parts.append(f"calibration error {target.calibration_error:.0%}: {source}")
    parts += [
        f"{form} does {share:.0%} of the multiply-accumulates, and its cost is assumed" for form, share in assumed
    ]
    parts.append("power not known" if watts is None else f"energy at {watts:g} W")
    return "; ".join(parts)
