"""A runner as ARM code: what it needs to start, put together by whoever knows the runtime, and how it is given jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeq.bench.jobs import Job, JobResult, read_results, write_job_file
from edgeq.bench.profile import Region
from edgeq.bench.qemu import run
from edgeq.targets import Target

__all__ = ["GuestProgram", "run_jobs"]


@dataclass(frozen=True)
class GuestProgram:
    """A runner that takes a job file as its last argument, and all it needs around it.

    Attributes:
        program: what is emulated.
        arguments: before the job file.
        root: folder in which the program's absolute paths are looked up first.
        library_folders: of shared libraries, besides those of the root.
        environment: variables that the program must see.
        symbols: files whose symbols name its kernels.
    """

    program: Path
    arguments: tuple[str, ...]
    root: Path
    library_folders: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    symbols: tuple[Path, ...] = ()


def run_jobs(
    guest: GuestProgram, target: Target, jobs: Sequence[Job], job_file: Path, *, count: bool, timeout_s: float
) -> tuple[list[JobResult], tuple[Region, ...]]:
    """Emulate a runner on some jobs, all in one process.

    Args:
        guest: the runner, for the target's ``arch``.
        target: the device whose core is emulated.
        jobs: their models and samples are there; the runner writes their outputs.
        job_file: where the list of jobs is written.
        count: whether to count what runs in each job's region.
        timeout_s: wall time for all of them.

    Returns:
        A result a job, and the regions by index, a job each; none where nothing was counted.

    Raises:
        EdgeqError: as of :func:`edgeq.bench.qemu.run`.
        FormatError: the runner's answer is not what the protocol says.
    """
    assert target.arch is not None and target.qemu_cpu is not None  # a target has both or neither
    write_job_file(jobs, job_file)
    done = run(
        guest.program,
        [*guest.arguments, str(job_file)],
        arch=target.arch,
        cpu=target.qemu_cpu,
        root=guest.root,
        library_folders=guest.library_folders,
        count=count,
        timeout_s=timeout_s,
        environment=guest.environment,
    )
    return read_results(done.stdout, jobs), done.regions
