"""A model timed on a device that a transport reaches: the runner is sent there, run beside the sensors, and believed
only where the device was quiet. Everything in the result was measured; nothing here estimates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from edgeq.bench.device_state import DeviceState, StateLimits, clock_files, read_state, throttling
from edgeq.bench.jobs import Job, read_results, write_job_file
from edgeq.bench.power import Power, Sensor, find_sensors, power_of_run
from edgeq.bench.sample_statistics import NoiseLimits, Summary, noise, summarize
from edgeq.bench.sampling import Samples, run_sampled
from edgeq.bench.transport import Transport
from edgeq.bench.transport.shell import last_line
from edgeq.errors import EdgeqError, RecipeError, VerifyError

__all__ = ["Measurement", "RunnerFiles", "Settings", "measure"]

_FOLDER_WORD = "{folder}"


@dataclass(frozen=True, slots=True)
class RunnerFiles:
    """A runner and what it needs on the device.

    Attributes:
        program: takes the path of a job file as its last argument (see :mod:`edgeq.bench.jobs`).
        arguments: before the job file.
        files: pushed beside the program, such as shared libraries.
        environment: of the program.
        loader: a dynamic loader (ld.so) that is pushed too and starts the program with the folder as its library path:
            so a glibc program runs on Android.
        interpreter: a program of the device that runs ``program``, such as ``python3``.

    ``{folder}`` in arguments and environment is the folder on the device that all of it is pushed to.
    """

    program: Path
    arguments: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    loader: Path | None = None
    interpreter: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure; runs and threads are of the :class:`~edgeq.bench.jobs.Job`.

    Attributes:
        cores: the cores that the runner may use; None leaves that to the device.
        timeout_s: for the runner as a whole.
        allow_noisy: keep a noisy or throttled measurement, flagged, instead of refusing it.
        root: prefix of the paths below /sys; for tests.
        idle_s: how long power is read at rest.
        interval_s: pause between two readings of clocks and power.
        noise, state: from where on a measurement is refused.
    """

    cores: tuple[int, ...] | None = None
    timeout_s: float = 600.0
    allow_noisy: bool = False
    idle_s: float = 3.0
    interval_s: float = 0.1
    noise: NoiseLimits = field(default_factory=NoiseLimits)
    state: StateLimits = field(default_factory=StateLimits)
    root: str = ""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "idle_s", "interval_s"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise RecipeError("must be positive and finite", where=name, got=getattr(self, name))
        if self.cores is not None and not (self.cores and all(0 <= core < 1024 for core in self.cores)):
            raise RecipeError("no list of cores", where="cores", got=self.cores, wanted="numbers from 0 on")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of one job on one device.

    Attributes:
        basis: always ``measured``.
        name: of the job.
        via: the device, as the user named it.
        machine: what the device calls itself (``uname -srm``).
        threads: of the runtime.
        warm_up: runs before the measured ones.
        cores: those the runner was bound to; None where it was not.
        cores_note: why it was not.
        times_ns: of each measured run, in order.
        latency: their statistics.
        before, after: clocks, governors and temperatures around the run.
        flags: why the measurement is noisy or throttled; only with :attr:`Settings.allow_noisy` is there any.
        power: None where there is no sensor, or where it did not serve.
        power_note: why.
        samples: how many samples' outputs the runner wrote.
    """

    basis: Literal["measured"]
    name: str
    via: str
    machine: str
    threads: int
    warm_up: int
    cores: tuple[int, ...] | None
    cores_note: str
    times_ns: tuple[int, ...]
    latency: Summary
    before: DeviceState
    after: DeviceState
    flags: tuple[str, ...]
    power: Power | None
    power_note: str
    samples: int


def measure(transport: Transport, runner: RunnerFiles, job: Job, settings: Settings | None = None) -> Measurement:
    """Measure a model on a device, and fetch its outputs into ``job.outputs``.

    What was pushed for an earlier job in the same ``with`` statement is not sent again.

    Args:
        transport: an open transport.
        runner: for the device's architecture.
        job: its files lie here; they are copied there and back.
        settings: the defaults of the dataclass if not given.

    Raises:
        VerifyError: the measurement is noisy or the device was throttled, and that is not allowed.
        EdgeqError: the runner failed, took too long, or the device was lost or is full.
    """
    settings = settings or Settings()
    command = _send_runner(transport, runner)
    bound, cores_note = _bind(transport, settings.cores)
    sensors, power_note = find_sensors(transport, settings.root)
    clocks = clock_files(transport, settings.cores if bound else None, settings.root)
    job_file, outputs = _send_job(transport, job)
    idle = _idle(transport, sensors, settings)
    before = read_state(transport, settings.root)
    done, run = run_sampled(
        transport,
        [*bound, *command, job_file],
        [*dict.fromkeys([*clocks, *(path for sensor in sensors for path in sensor.files)])],
        interval_s=settings.interval_s,
        timeout_s=settings.timeout_s,
    )
    after = read_state(transport, settings.root)
    if done.returncode != 0:
        raise _runner_error(transport, runner, job, done.returncode, done.stderr)
    (result,) = read_results(done.stdout, [job])
    transport.pull(outputs, job.outputs)
    latency = summarize(result.nanoseconds)
    during = run.last(sum(result.nanoseconds) / 1e9)
    flags = (
        *throttling(before, after, during, clocks, settings.state),
        *noise(latency, settings.noise),
    )
    if flags and not settings.allow_noisy:
        raise VerifyError(
            "the measurement is not to be trusted",
            where=f"{job.name} on {transport.label}",
            got="; ".join(flags),
            remedy="let the device cool, fix its clock (governor performance), stop what else runs; or allow noise",
        )
    power = None
    if sensors:
        power, power_note = power_of_run(sensors, idle, run, result.nanoseconds, settings.interval_s)
    return Measurement(
        basis="measured",
        name=job.name,
        via=transport.label,
        machine=transport.run(["uname", "-srm"], 30).stdout.strip()[:200],
        threads=job.threads,
        warm_up=job.warm_up,
        cores=settings.cores if bound else None,
        cores_note=cores_note,
        times_ns=result.nanoseconds,
        latency=latency,
        before=before,
        after=after,
        flags=flags,
        power=power,
        power_note=power_note,
        samples=result.samples,
    )


def _send_runner(transport: Transport, runner: RunnerFiles) -> list[str]:
    """The command that starts the runner on the device, all but the job file."""
    names = [path.name for path in (runner.program, *runner.files, *filter(None, [runner.loader]))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError("two files of the runner have one name", got=", ".join(twice))
    program = transport.push(runner.program)
    for path in runner.files:
        transport.push(path)
    start: list[str] = []
    if runner.loader is not None:
        start = [transport.push(runner.loader), "--library-path", transport.folder]
    elif runner.interpreter is not None:
        start = [runner.interpreter]
    arguments = [argument.replace(_FOLDER_WORD, transport.folder) for argument in runner.arguments]
    # Set for the runner alone: a library path would also reach the device's own shell.
    variables = [
        f"{name}={value.replace(_FOLDER_WORD, transport.folder)}" for name, value in runner.environment.items()
    ]
    return [*(["env", *variables] if variables else []), *start, program, *arguments]


def _send_job(transport: Transport, job: Job) -> tuple[str, str]:
    """Paths on the device of the job file and of the outputs that it names."""
    outputs = f"{transport.folder}/job.outputs"
    there = dataclasses.replace(
        job,
        model=Path(transport.push(job.model, "job.model")),
        samples=Path(transport.push(job.samples, "job.samples")),
        outputs=Path(outputs),
    )
    with TemporaryDirectory() as here:
        path = Path(here, "job.txt")
        write_job_file([there], path)
        return transport.push(path), outputs


def _bind(transport: Transport, cores: Sequence[int] | None) -> tuple[list[str], str]:
    """What to put before a command so that it stays on the given cores, and why there is nothing if there is not."""
    if cores is None:
        return [], "no cores were asked for"
    # A mask in hexadecimal is what the taskset of util-linux, of busybox and of Android all take.
    command = ["taskset", f"{sum(1 << core for core in set(cores)):x}"]
    shown = transport.run([*command, "grep", "Cpus_allowed_list:", "/proc/self/status"], 30)
    if shown.returncode == 127 or "not found" in shown.stderr:
        return [], "the device has no taskset"
    if shown.returncode != 0:
        raise EdgeqError(
            "the runner cannot be bound to these cores",
            where=transport.label,
            got=", ".join(map(str, cores)),
            remedy=last_line(shown.stderr) or "does the device have them?",
        )
    if _core_list(shown.stdout.partition(":")[2]) != set(cores):
        got = shown.stdout.partition(":")[2].strip()[:100]
        raise EdgeqError("the device binds to other cores", where=transport.label, got=got, wanted=sorted(set(cores)))
    return command, ""


def _core_list(text: str) -> set[int] | None:
    """The cores of a list such as ``0,2-3``; None where it is none."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) >= 1 << 16:
            return None
        cores.update(range(int(first), int(last or first) + 1))
    return cores


def _idle(transport: Transport, sensors: Sequence[Sensor], settings: Settings) -> Samples:
    """What the sensors read while nothing runs."""
    files = [*dict.fromkeys(path for sensor in sensors for path in sensor.files)]
    if not files:
        return Samples((), None)
    done, samples = run_sampled(
        transport,
        ["sleep", f"{math.ceil(settings.idle_s)}"],
        files,
        interval_s=settings.interval_s,
        timeout_s=settings.idle_s + 60,
    )
    return samples if done.returncode == 0 else Samples((), None)


def _runner_error(transport: Transport, runner: RunnerFiles, job: Job, returncode: int, stderr: str) -> EdgeqError:
    says = last_line(stderr)
    remedy = None
    if returncode in (126, 127):
        remedy = "is it built for this device's architecture, with all of its libraries?"
    elif returncode > 128:
        says = says or f"signal {returncode - 128}"
    return EdgeqError(
        f"{runner.program.name} failed on the device with status {returncode}",
        where=f"{job.name} on {transport.label}",
        got=says,
        remedy=remedy,
    )
