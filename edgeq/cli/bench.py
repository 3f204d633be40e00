"""``edgeq bench``."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli.bench_tables import print_comparison, print_emulation, print_measurement, print_operations
from edgeq.cli.console import showing_progress
from edgeq.cli.options import output_options, verbosity

if TYPE_CHECKING:
    from edgeq.bench.board import Measured
    from edgeq.bench.reference import Reference
    from edgeq.bench.result import Emulation
    from edgeq.progress import Progress
    from edgeq.targets import Target

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_TARGET = "A device; may be repeated [cortex-a75]."
_VIA = "qemu|local|ssh://USER@HOST[:PORT]|adb[:SERIAL]"


def _cores(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    cores: list[int] = []
    for part in value.split(","):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < 1024):
            raise click.BadParameter(f"{value!r} is no list of cores such as 0,4-7.")
        cores += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(cores))


@click.command(
    "bench",
    epilog="""\b
Examples:
  edgeq bench out/demo --target cortex-a75 --target cortex-a7
  edgeq bench out/demo --target cortex-a75 --compare other.tflite
  edgeq bench out/demo --target cortex-a75 --via ssh://pi@board.local""",
)
@click.argument("artifact", type=_FILE, metavar="OUT|FILE.tflite")
@click.option("--target", "targets", multiple=True, default=("cortex-a75",), metavar="NAME|FILE", help=_TARGET)
@click.option("--via", default="qemu", metavar=_VIA, help="Where to run [qemu].")
@click.option("--compare", type=_FILE, metavar="OUT|FILE.tflite", help="A second artifact, side by side.")
@click.option("--float-twin", is_flag=True, help="The same network in float32 instead of the file itself.")
@click.option("--lane", "lanes", multiple=True, metavar="NAME", help="Under QEMU: only this runtime of the target.")
@click.option("--operations/--no-operations", default=True, help="Under QEMU: each operation alone, too [yes].")
@click.option("--baseline", type=_FILE, metavar="FILE", help="Under QEMU: fail where over 0.5 % more instructions run.")
@click.option("--record-baseline", is_flag=True, help="Write the --baseline file, do not check against it.")
@click.option("--roofline", type=_FILE, metavar="FILE.svg", help="Under QEMU: draw the first lane's roofline.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, help="On a board: of the runtime [1].")
@click.option("--cores", metavar="0,4-7", callback=_cores, help="On a board: bind the runtime to these cores.")
@click.option("--timeout", type=click.IntRange(1), default=600, metavar="SECONDS", help="On a board: of the run [600].")
@click.option("--runs", type=click.IntRange(1, 1_000_000), default=100, help="On a board: measured runs [100].")
@click.option("--warm-up", type=click.IntRange(0, 1_000_000), default=10, help="On a board: runs before them [10].")
@click.option("--allow-noisy", is_flag=True, help="On a board: keep a noisy or throttled measurement, and say so.")
@click.option("--save", type=_FILE, metavar="FILE.json", help="Write the JSON to a file, too.")
@output_options
def command(
    artifact: Path,
    targets: tuple[str, ...],
    via: str,
    compare: Path | None,
    float_twin: bool,
    save: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """What an artifact costs on a device: counted and estimated under QEMU, or measured on a board."""
    from edgeq.bench.transport import parse_via
    from edgeq.targets import load_target

    parse_via(via)  # before anything repeats it: it refuses a password
    _check_usage(targets, via, compare, options)
    for path in (save, options["roofline"]):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)  # not after minutes of work
    devices = [load_target(name) for name in targets]
    recorded = _baseline(options)
    paths = [artifact] if compare is None else [artifact, compare]
    with showing_progress(verbosity(quiet, verbose)) as progress:
        alone = via == "qemu" and options["operations"]
        references = [_reference(path, float_twin, alone, progress) for path in paths]
        if via == "qemu":
            emulations = [_emulate(reference, devices, options["lanes"], progress) for reference in references]
            results: list[Any] = [item for part in emulations for item in part]
        else:
            results = [_measure(reference, devices[0], via, options, progress) for reference in references]
    document = json.dumps([dataclasses.asdict(item) for item in results], indent=2)
    if save is not None:
        save.write_text(document + "\n", encoding="utf-8")
    if as_json:
        click.echo(document)
    if via == "qemu":
        if not as_json:
            _print_emulations(*emulations)
        _judge(results, devices * len(paths))
        _keep(emulations[0], devices, recorded, options)
    else:
        for item in results:
            if not as_json:
                print_measurement(item)
            _judge_board(item)
        if len(results) == 2 and not as_json:
            ratio = results[1].measurement.latency.p50.value_ns / results[0].measurement.latency.p50.value_ns
            click.echo(f"second / first at the median: x{ratio:.3f}")
    if (artifact / "manifest.json").is_file() and not float_twin:
        from edgeq.bench.record import record

        record(artifact, results[: len(results) // len(paths)])


def _check_usage(targets: tuple[str, ...], via: str, compare: Path | None, options: dict[str, Any]) -> None:
    if options["record_baseline"] and options["baseline"] is None:
        raise click.UsageError("--record-baseline wants --baseline FILE.")
    if compare is not None and not options["operations"]:
        raise click.UsageError("--compare and --no-operations exclude each other.")
    if options["roofline"] is not None and not options["operations"]:
        raise click.UsageError("--roofline and --no-operations exclude each other.")
    if via == "qemu":
        return
    if len(targets) > 1:
        raise click.UsageError(f"--via {via} reaches one device: give one --target.")
    for name in ("lanes", "baseline", "roofline"):
        if options[name]:
            raise click.UsageError(f"--{name.removesuffix('s')} is for --via qemu.")


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


def _emulate(
    reference: Reference, devices: Sequence[Target], lanes: tuple[str, ...], progress: Progress
) -> list[Emulation]:
    from edgeq.bench.emulate import emulate

    found = []
    for device in devices:
        progress.stage(f"{device.name} under QEMU")
        found.append(emulate(reference, device, lanes=lanes, progress=progress))
    return found


def _measure(reference: Reference, device: Target, via: str, options: dict[str, Any], progress: Progress) -> Measured:
    from edgeq.bench.board import measure_artifact
    from edgeq.bench.measure import Settings

    return measure_artifact(
        reference,
        device,
        via,
        threads=options["threads"],
        runs=options["runs"],
        warm_up=options["warm_up"],
        settings=Settings(cores=options["cores"], timeout_s=options["timeout"], allow_noisy=options["allow_noisy"]),
        progress=progress,
    )


# What is wrong is told last, so that the figures it shows in are there to look at.


def _judge(found: Sequence[Emulation], devices: Sequence[Target]) -> None:
    from edgeq.bench.agreement import check_agreement
    from edgeq.bench.emulate import check_dot_product

    for emulation, device in zip(found, devices, strict=True):
        for row in emulation.lanes:
            check_agreement(row.agreement, f"{row.lane} on {device.name}", exact=row.exact)
        check_dot_product(emulation, device)


def _judge_board(found: Measured) -> None:
    from edgeq.bench.agreement import check_agreement

    check_agreement(found.agreement, f"{found.lane} on {found.measurement.via}", exact=True)


def _baseline(options: dict[str, Any]) -> dict[str, int] | None:
    if options["baseline"] is None or options["record_baseline"]:
        return None
    from edgeq.bench.baseline import read_baseline

    recorded: dict[str, int] = read_baseline(options["baseline"])
    return recorded


def _keep(
    found: Sequence[Emulation], devices: Sequence[Target], recorded: dict[str, int] | None, options: dict[str, Any]
) -> None:
    from edgeq.bench.baseline import check_baseline, write_baseline

    if options["roofline"] is not None:
        from edgeq.bench.roofline import draw_roofline, make_roofline

        drawing = draw_roofline(make_roofline(found[0].lanes[0], devices[0]))
        options["roofline"].write_text(drawing, encoding="utf-8")
    if options["record_baseline"]:
        write_baseline(found, options["baseline"])
    elif recorded is not None:
        check_baseline(found, recorded)


def _print_emulations(first: Sequence[Emulation], second: Sequence[Emulation] = ()) -> None:
    from edgeq.bench.compare import compare_lanes, costliest

    for found in (*first, *second):
        print_emulation(found)
    if not second:
        for found in first:
            print_operations(found)
    for one, other in zip(first, second, strict=False):
        for lane, peer in zip(one.lanes, other.lanes, strict=True):
            pairs = compare_lanes(lane, peer)
            print_comparison(lane.lane, one.target, pairs, costliest(pairs))
