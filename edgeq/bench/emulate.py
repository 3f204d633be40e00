"""Run an artifact as ARM code under QEMU, in every runtime a target's users have: is it right, what does it execute?

Each lane gets one process: the whole file first, with all its samples, then every operation alone, fed with what the
host computed. Outputs are compared with the host's; instructions are counted in one run of each.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeq.bench.agreement import compare_outputs, first_differing
from edgeq.bench.estimate import Estimate, estimate
from edgeq.bench.guest import GuestProgram, run_jobs
from edgeq.bench.instructions import count, macs_by_form
from edgeq.bench.jobs import Job, pack_samples, unpack_outputs
from edgeq.bench.kernels import KernelNames, hot_kernels
from edgeq.bench.lanes import Lane, find_lanes
from edgeq.bench.memory_traffic import memory_bytes, weights_stay
from edgeq.bench.profile import Region
from edgeq.bench.reference import Arrays, OperationRun, Reference, at_sample
from edgeq.bench.result import EmulatedLane, Emulation, OperationCount
from edgeq.bench.roofline import core_peak
from edgeq.errors import ExportError, VerifyError
from edgeq.progress import Progress, Silent
from edgeq.targets import Target
from edgeq.tflite.workload import operator_bytes, operator_macs

__all__ = ["check_dot_product", "emulate"]

TIMEOUT_S = 1800.0
HOT_KERNELS = 8


def emulate(
    reference: Reference,
    target: Target,
    *,
    lanes: Sequence[str] = (),
    progress: Progress = Silent(),  # noqa: B008  # has no state
) -> Emulation:
    """Run an artifact in each lane of a target.

    Args:
        reference: the artifact, and what it computes on the host.
        target: the device whose core is emulated.
        lanes: names of those to run; empty for all of the target's that have the file's operations.
        progress: told of each lane.

    Raises:
        RecipeError: the target has no lane, or none of a name given.
        ExportError: a runtime that is named, or every one, has no form of an operation.
        EdgeqError: a tool is missing, cannot be downloaded, or the emulated program failed.
    """
    chosen = find_lanes(target, tuple(lanes))
    found, left_out = list[EmulatedLane](), dict[str, ExportError]()
    with progress.task("runtimes", len(chosen)) as task:
        for lane in chosen:
            try:
                found.append(_run_lane(lane, reference, target, progress))
            except ExportError as error:
                if lanes:
                    raise
                left_out[lane.name] = error
            task.advance(1, lane.name)
    if not found:
        raise next(iter(left_out.values()))
    reasons = {name: str(error) for name, error in left_out.items()}
    return Emulation(target.name, str(reference.path), reference.sha256, tuple(found), left_out=reasons)


def check_dot_product(found: Emulation, target: Target) -> None:
    """Raise where a target has SDOT, the file has int8 multiply-accumulates and no SDOT does any of them.

    Raises:
        VerifyError: kernels for lesser cores were chosen.
    """
    if "dotprod" not in target.features:
        return
    for row in found.lanes:
        if row.macs and _computes_in_integers(row) and not any(form.startswith("sdot") for form in row.macs_by_form):
            got = ", ".join(list(row.macs_by_form)[:3]) or "no multiply-accumulates"
            raise VerifyError("no SDOT ran", where=f"{row.lane} on {found.target}", got=got, wanted="sdot")


def _computes_in_integers(row: EmulatedLane) -> bool:
    """Whether most multiply-accumulates are of integers, whatever type the file's ends have."""
    return not next(iter(row.macs_by_form), "").startswith(("fmla", "vmla.f", "vfma"))


def _run_lane(lane: Lane, reference: Reference, target: Target, progress: Progress) -> EmulatedLane:
    guest = lane.guest(target, progress)
    regions, outputs = _execute(lane, guest, reference, target)
    agreement = compare_outputs(reference, outputs)
    if lane.exact and not agreement.equal and agreement.gaps == ():
        # The operations had the first sample, and were right: look at the one whose result is other.
        differing = at_sample(reference, first_differing(reference, outputs[0]))
        _, outputs = _execute(lane, guest, differing, target)
        agreement = dataclasses.replace(agreement, gaps=compare_outputs(differing, outputs).gaps)
    names = [KernelNames(path) for path in guest.symbols]
    whole, resident = regions[0], weights_stay(reference.graph, target)
    forms = macs_by_form(whole.blocks)
    peak = core_peak(forms, target)
    return EmulatedLane(
        lane=lane.name,
        about=lane.about,
        exact=lane.exact,
        repeats=lane.repeats,
        agreement=agreement,
        macs=sum(operator_macs(reference.graph, operator) for operator in reference.graph.operators),
        counts=count(whole.blocks),
        macs_by_form=forms,
        kernels=tuple(hot_kernels(whole.blocks, names, HOT_KERNELS)),
        operations=tuple(
            _operation(part, regions[index], target, names, resident, peak)
            for index, part in enumerate(reference.operations, 1)
        ),
        estimate=_estimate(whole, target, memory_bytes(reference.graph, target)),
    )


def _execute(
    lane: Lane, guest: GuestProgram, reference: Reference, target: Target
) -> tuple[dict[int, Region], list[Arrays]]:
    """The regions by index, and the outputs: of the whole file, then of each operation."""
    with tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
        jobs = _write_jobs(lane, reference, Path(folder))
        results, regions = run_jobs(guest, target, jobs, Path(folder) / "jobs", count=True, timeout_s=TIMEOUT_S)
        graphs = [reference.graph, *(part.operation.graph for part in reference.operations)]
        outputs = [
            unpack_outputs(job.outputs.read_bytes(), graph, result.samples)
            for job, graph, result in zip(jobs, graphs, results, strict=True)
        ]
    return {region.index: region for region in regions}, outputs


def _write_jobs(lane: Lane, reference: Reference, folder: Path) -> list[Job]:
    whole = [("whole", reference.graph, reference.inputs)]
    parts = [  # one sample: all of each tensor
        (part.operation.name or part.operation.kind, part.operation.graph, [array[None] for array in part.inputs])
        for part in reference.operations
    ]
    jobs = []
    for index, (name, graph, inputs) in enumerate(whole + parts):
        job = Job(name, folder / f"{index}.model", folder / f"{index}.in", folder / f"{index}.out")
        job.model.write_bytes(lane.encode(graph))
        job.samples.write_bytes(pack_samples(inputs))
        jobs.append(job)
    return jobs


def _operation(
    part: OperationRun, region: Region, target: Target, names: Sequence[KernelNames], resident: bool, peak: float | None
) -> OperationCount:
    alone = part.operation
    hottest = hot_kernels(region.blocks, names, 1)
    macs = sum(operator_macs(alone.graph, operator) for operator in alone.graph.operators)
    found = _estimate(region, target, memory_bytes(alone.graph, target, resident=resident))
    return OperationCount(
        index=alone.index,
        kind=alone.kind,
        name=alone.name,
        macs=macs,
        bytes=sum(operator_bytes(alone.graph, operator) for operator in alone.graph.operators),
        counts=count(region.blocks),
        kernel=hottest[0].name if hottest else "",
        estimate=found,
        peak_share=None if found is None or peak is None else macs / (found.mid_ms / 1000) / peak,
    )


def _estimate(region: Region, target: Target, moved_bytes: int) -> Estimate | None:
    if target.pipeline is None or target.clock_hz is None:
        return None
    return estimate(region.blocks, target, moved_bytes, passes=region.passes)
