"""Bench one artifact, or two side by side, on one device or several: under QEMU, or on a board."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.display.summary import Result, Summary, Table
from edgeq.errors import RecipeError
from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    from edgeq.bench.board import Measured
    from edgeq.bench.reference import Reference
    from edgeq.bench.result import Emulation
    from edgeq.targets import Target

__all__ = ["BenchRequest", "BenchResult", "bench_artifacts"]


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """How an artifact is run.

    Attributes:
        via: ``qemu``, ``local``, ``ssh://USER@HOST[:PORT]`` or ``adb[:SERIAL]``.
        float_twin: the same network in float32 instead of the file itself.
        lanes: under QEMU: names of the runtimes to run; empty for all of the target's.
        operations: under QEMU: run each operation alone, too.
        threads: on a board: of the runtime.
        runs: on a board: measured runs.
        warm_up: on a board: runs before them.
        cores: on a board: the cores to bind the runtime to; None leaves that to the device.
        timeout_s: on a board: of the run as a whole.
        allow_noisy: on a board: keep a noisy or throttled measurement, and flag it.
    """

    via: str = "qemu"
    float_twin: bool = False
    lanes: tuple[str, ...] = ()
    operations: bool = True
    threads: int = 1
    runs: int = 100
    warm_up: int = 10
    cores: tuple[int, ...] | None = None
    timeout_s: float = 600.0
    allow_noisy: bool = False

    @property
    def emulates(self) -> bool:
        """Whether it runs under QEMU."""
        return self.via == "qemu"


@dataclass(frozen=True, slots=True)
class BenchResult(Result):
    """What an artifact costs, for each device.

    Attributes:
        artifact: the file or build's folder.
        results: a result a device: an :class:`~edgeq.bench.result.Emulation` under QEMU, a
            :class:`~edgeq.bench.board.Measured` on a board.
        compared: the same of a second artifact; empty where there is none.
        request: how it was run.
        devices: the targets, in the order of ``results``.
    """

    artifact: Path
    results: tuple[Emulation | Measured, ...]
    compared: tuple[Emulation | Measured, ...] = ()
    request: BenchRequest = field(default_factory=BenchRequest)
    devices: tuple[Target, ...] = field(default=(), repr=False)

    @property
    def emulations(self) -> list[Emulation]:
        """Those of ``results`` that ran under QEMU."""
        return _emulations(self.results)

    def summary(self) -> Summary:
        if self.request.emulates:
            return _emulated_summary(self.emulations, _emulations(self.compared))
        return _measured_summary(self._measured())

    def to_dict(self) -> dict[str, Any]:
        """``results``: one a device, those of the second artifact last."""
        return {"results": [dataclasses.asdict(item) for item in (*self.results, *self.compared)]}

    def check(self) -> None:
        """Hold every output to the host's.

        Raises:
            VerifyError: a runtime that must give the host's bytes does not, or a target's dot products were not used.
        """
        from edgeq.bench.agreement import check_agreement
        from edgeq.bench.emulate import check_dot_product

        for found in self._measured():
            check_agreement(found.agreement, f"{found.lane} on {found.measurement.via}", exact=True)
        for emulations in (self.emulations, _emulations(self.compared)):
            for emulation, device in zip(emulations, self.devices, strict=False):
                for row in emulation.lanes:
                    check_agreement(row.agreement, f"{row.lane} on {device.name}", exact=row.exact)
                check_dot_product(emulation, device)

    def record(self) -> None:
        """Put the figures into the manifest of the build that was benched; nothing where it was a single file, or the
        float twin.

        Raises:
            FormatError: the manifest cannot be read, or tells of another file.
        """
        if (self.artifact / "manifest.json").is_file() and not self.request.float_twin:
            from edgeq.bench.record import record

            record(self.artifact, self.results)

    def roofline(self) -> str:
        """The roofline of the first device's first runtime, as SVG.

        Raises:
            RecipeError: it was not run under QEMU with its single operations.
        """
        if not (self.request.emulates and self.request.operations):
            raise RecipeError("a roofline needs each operation alone, under QEMU", where=self.artifact)
        from edgeq.bench.roofline import draw_roofline, make_roofline

        return draw_roofline(make_roofline(self.emulations[0].lanes[0], self.devices[0]))

    def _measured(self) -> list[Measured]:
        from edgeq.bench.board import Measured

        return [item for item in (*self.results, *self.compared) if isinstance(item, Measured)]


def _emulations(found: Sequence[Emulation | Measured]) -> list[Emulation]:
    from edgeq.bench.result import Emulation

    return [item for item in found if isinstance(item, Emulation)]


def bench_artifacts(
    artifact: Path,
    devices: Sequence[Target],
    request: BenchRequest,
    *,
    compare: Path | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Run an artifact, and a second one where there is one, on each device.

    Args:
        artifact: a .tflite file, or a build's folder, whose golden vectors are then used.
        devices: what to run on; one alone on a board.
        request: how.
        compare: the second artifact.
        progress: shown.

    Raises:
        RecipeError: several devices for one board, or an unknown way or runtime.
        EdgeqError: a file is damaged, a tool is missing, the device cannot be reached or is too noisy.
    """
    progress = progress or Silent()
    _check(devices, request)
    paths = [artifact] if compare is None else [artifact, compare]
    alone = request.emulates and request.operations
    references = [_reference(path, request.float_twin, alone, progress) for path in paths]
    found: list[tuple[Emulation | Measured, ...]] = []
    for reference in references:
        if request.emulates:
            found.append(tuple(_emulate(reference, device, request, progress) for device in devices))
        else:
            found.append((_measure(reference, devices[0], request, progress),))
    return BenchResult(artifact, found[0], found[1] if compare is not None else (), request, tuple(devices))


def _check(devices: Sequence[Target], request: BenchRequest) -> None:
    from edgeq.bench.transport import parse_via

    parse_via(request.via)  # before anything repeats it: it refuses a password
    if not devices:
        raise RecipeError("no device is given", where="target")
    if not request.emulates and len(devices) > 1:
        got = ", ".join(device.name for device in devices)
        raise RecipeError("a board is one device", where=request.via, got=got, wanted="one target")


def _reference(path: Path, float_twin: bool, operations: bool, progress: Progress) -> Reference:
    from edgeq.bench.reference import make_reference

    progress.stage(f"What {path} computes here")
    if not float_twin:
        return make_reference(path, operations=operations)
    from edgeq.bench.float_twin import float_twin as twin_of
    from edgeq.tflite.read import read_file
    from edgeq.tflite.write import write_graph

    model = path / "model.tflite" if path.is_dir() else path
    with tempfile.TemporaryDirectory(prefix="edgeq-twin-") as folder:
        twin = Path(folder) / f"{model.stem}-float.tflite"
        twin.write_bytes(write_graph(twin_of(read_file(model))))
        return make_reference(twin, operations=operations)


def _emulate(reference: Reference, device: Target, request: BenchRequest, progress: Progress) -> Emulation:
    from edgeq.bench.emulate import emulate

    progress.stage(f"{device.name} under QEMU")
    return emulate(reference, device, lanes=request.lanes, progress=progress)


def _measure(reference: Reference, device: Target, request: BenchRequest, progress: Progress) -> Measured:
    from edgeq.bench.board import measure_artifact
    from edgeq.bench.measure import Settings

    return measure_artifact(
        reference,
        device,
        request.via,
        threads=request.threads,
        runs=request.runs,
        warm_up=request.warm_up,
        settings=Settings(cores=request.cores, timeout_s=request.timeout_s, allow_noisy=request.allow_noisy),
        progress=progress,
    )


def _emulated_summary(first: Sequence[Emulation], second: Sequence[Emulation]) -> Summary:
    from edgeq.bench.compare import compare_lanes, costliest
    from edgeq.bench.tables import comparison_summary, emulation_summary, operations_summary

    parts: list[Table | str] = [part for found in (*first, *second) for part in emulation_summary(found)]
    if not second:
        parts += [part for found in first for part in operations_summary(found)]
    for one, other in zip(first, second, strict=False):
        peers = {peer.lane: peer for peer in other.lanes}
        for lane in one.lanes:
            if lane.lane in peers:
                pairs = compare_lanes(lane, peers[lane.lane])
                parts += comparison_summary(lane.lane, one.target, pairs, costliest(pairs))
    return tuple(parts)


def _measured_summary(found: Sequence[Measured]) -> Summary:
    from edgeq.bench.tables import measurement_summary

    parts = [part for item in found for part in measurement_summary(item)]
    if len(found) == 2:
        ratio = found[1].measurement.latency.p50.value_ns / found[0].measurement.latency.p50.value_ns
        parts.append(f"second / first at the median: x{ratio:.3f}")
    return tuple(parts)
