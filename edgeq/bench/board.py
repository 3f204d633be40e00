"""Measure an artifact on a device that a transport reaches, with the runner for what the device calls itself.

The runner's own C library and loader go along, so that neither the age of the device's system nor Android matters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgeq.bench.agreement import compare_outputs
from edgeq.bench.jobs import Job, pack_samples, unpack_outputs
from edgeq.bench.lanes import LANES, Lane
from edgeq.bench.measure import Measurement, RunnerFiles, Settings, measure
from edgeq.bench.reference import Reference
from edgeq.bench.result import Agreement
from edgeq.bench.transport import Transport, open_transport, parse_via
from edgeq.errors import EdgeqError
from edgeq.progress import Progress, Silent
from edgeq.targets import Arch, Target

__all__ = ["Measured", "measure_artifact"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One artifact on one device.

    Attributes:
        target: the device's name in edgeq; nothing of it enters the measurement.
        model, sha256: the artifact.
        lane, about: the runtime.
        agreement: of the outputs with the host's.
        measurement: time, and power where there is a sensor.
    """

    target: str
    model: str
    sha256: str
    lane: str
    about: str
    agreement: Agreement
    measurement: Measurement


def measure_artifact(
    reference: Reference,
    target: Target,
    via: str,
    *,
    threads: int = 1,
    runs: int = 100,
    warm_up: int = 10,
    settings: Settings | None = None,
    progress: Progress = Silent(),  # noqa: B008  # has no state
) -> Measured:
    """Time an artifact on a device.

    Args:
        reference: the artifact, and what it computes here.
        target: the device; its ``arch``, where it names one, must be the machine's.
        via: ``local``, ``ssh://user@host[:port]`` or ``adb[:serial]``.
        threads: of the runtime.
        runs, warm_up: measured runs, and those before them.
        settings: what is refused, and how power is read.
        progress: told of each step.

    Raises:
        RecipeError: no such form of ``via``.
        VerifyError: a noisy or throttled measurement, unless the settings allow it.
        EdgeqError: the device cannot be reached, is of another or unknown kind or full, or the runner failed.
    """
    way = parse_via(via)  # before anything is shown: it refuses a password
    progress.stage(f"{via}: reaching the device")
    with open_transport(way) as transport, tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
        lane, runner = _runner_for(transport, target, progress)
        model, samples, outputs_file = (Path(folder) / name for name in ("model", "in", "out"))
        job = Job("whole", model, samples, outputs_file, warm_up, runs, threads)
        job.model.write_bytes(lane.encode(reference.graph))
        job.samples.write_bytes(pack_samples(reference.inputs))
        progress.stage(f"{via}: {warm_up} runs to warm up, {runs} measured")
        measurement = measure(transport, runner, job, settings)
        outputs = unpack_outputs(job.outputs.read_bytes(), reference.graph, measurement.samples)
    return Measured(
        target=target.name,
        model=str(reference.path),
        sha256=reference.sha256,
        lane=lane.name,
        about=lane.about,
        agreement=compare_outputs(reference, [outputs]),
        measurement=measurement,
    )


def _runner_for(transport: Transport, target: Target, progress: Progress) -> tuple[Lane, RunnerFiles]:
    machine = transport.run(["uname", "-m"], 30).stdout.strip()
    if target.arch is not None and not machine.startswith(_MACHINES[target.arch]):
        raise EdgeqError(
            f"the device is another machine than {target.name}",
            where=transport.label,
            got=machine[:40] or "no answer",
            wanted=_MACHINES[target.arch],
            remedy="give its own --target; host stands for any machine",
        )
    make = next((make for prefix, make in _RUNNERS.items() if machine.startswith(prefix)), None)
    if make is None:
        wanted = ", ".join(_RUNNERS)
        raise EdgeqError("no runner for this kind of device", where=transport.label, got=machine[:40], wanted=wanted)
    return make(progress)


def _host_runner(progress: Progress) -> tuple[Lane, RunnerFiles]:
    from edgeq.bench.litert_library import litert_library
    from edgeq.bench.toolchain import build_program

    library = litert_library("host", progress).runtime
    return LANES["litert"], RunnerFiles(
        build_program("litert_runner.c", "host"), files=(library,), environment=_library_variable(library)
    )


def _aarch64_runner(progress: Progress) -> tuple[Lane, RunnerFiles]:
    from edgeq.bench.litert_library import LITERT_PACKAGES, litert_library
    from edgeq.bench.toolchain import build_program

    library = litert_library("aarch64", progress).runtime
    loader, files = _c_library("aarch64", LITERT_PACKAGES, progress)
    return LANES["litert"], RunnerFiles(
        build_program("litert_runner.c", "aarch64"),
        files=(library, *files),
        environment=_library_variable(library),
        loader=loader,
    )


def _armhf_runner(progress: Progress) -> tuple[Lane, RunnerFiles]:
    from edgeq.bench.xnnpack_library import XNNPACK_PACKAGES, xnnpack_program

    loader, files = _c_library("armhf", XNNPACK_PACKAGES, progress)
    return LANES["xnnpack"], RunnerFiles(xnnpack_program("armhf", progress), files=files, loader=loader)


def _library_variable(library: Path) -> dict[str, str]:
    return {"EDGEQ_LITERT": f"{{folder}}/{library.name}"}


def _c_library(arch: Arch, packages: tuple[str, ...], progress: Progress) -> tuple[Path, tuple[Path, ...]]:
    """The loader, and every shared library of some of Debian's packages that the runners link, by its short name."""
    from edgeq.bench.sysroot import library_folders, sysroot

    wanted = (
        *("libc", "libm", "libdl", "libpthread", "librt", "libgcc_s", "libstdc++"),
        *("libXNNPACK", "libcpuinfo", "libpthreadpool"),
    )
    found: dict[str, Path] = {}
    for folder in library_folders(sysroot(arch, packages, progress), arch):
        for path in sorted(folder.glob("*.so.*")):
            if path.name.split(".so.")[0] in wanted and path.name.count(".") == 2:
                found.setdefault(path.name, path)
        for path in folder.glob("ld-linux*.so.*"):
            found.setdefault("loader", path)
    if "loader" not in found:
        raise EdgeqError("Debian's libc6 has no loader", where=arch, remedy="empty edgeq's cache and try again")
    return found.pop("loader"), tuple(found.values())


_MACHINES: Mapping[Arch, str] = MappingProxyType({"aarch64": "aarch64", "armhf": "armv"})
# By what `uname -m` begins with; a 32-bit system on a 64-bit core says armv8l.
_RUNNERS: Mapping[str, Callable[[Progress], tuple[Lane, RunnerFiles]]] = MappingProxyType(
    {"x86_64": _host_runner, "aarch64": _aarch64_runner, "armv7": _armhf_runner, "armv8": _armhf_runner}
)
