"""``edgeq bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli.completion import complete_target, complete_via
from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

if TYPE_CHECKING:
    from edgeq.bench.artifact import BenchResult

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
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("cortex-a75",),
    metavar="NAME|FILE",
    shell_complete=complete_target,
    help=_TARGET,
)
@click.option("--via", default="qemu", metavar=_VIA, shell_complete=complete_via, help="Where to run [qemu].")
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
    from edgeq.bench.artifact import BenchRequest
    from edgeq.bench.transport import parse_via
    from edgeq.examine import bench

    parse_via(via)  # before anything repeats it: it refuses a password
    _check_usage(targets, via, compare, options)
    for path in (save, options["roofline"]):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)  # not after minutes of work
    recorded = _baseline(options)
    request = BenchRequest(
        via=via,
        float_twin=float_twin,
        lanes=options["lanes"],
        operations=options["operations"],
        threads=options["threads"],
        runs=options["runs"],
        warm_up=options["warm_up"],
        cores=options["cores"],
        timeout_s=options["timeout"],
        allow_noisy=options["allow_noisy"],
    )
    with showing_progress(verbosity(quiet, verbose)) as progress:
        result = bench(artifact, targets, request, compare=compare, check=False, progress=progress)
    if save is not None:
        save.write_text(result.to_json() + "\n", encoding="utf-8")
    print_result(result, as_json=as_json)
    result.check()  # after the figures, so that there is something to look at
    _keep(result, recorded, options)
    result.record()


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


def _baseline(options: dict[str, Any]) -> dict[str, int] | None:
    if options["baseline"] is None or options["record_baseline"]:
        return None
    from edgeq.bench.baseline import read_baseline

    recorded: dict[str, int] = read_baseline(options["baseline"])
    return recorded


def _keep(result: BenchResult, recorded: dict[str, int] | None, options: dict[str, Any]) -> None:
    from edgeq.bench.baseline import check_baseline, write_baseline

    if options["roofline"] is not None:
        options["roofline"].write_text(result.roofline(), encoding="utf-8")
    if options["record_baseline"]:
        write_baseline(result.emulations, options["baseline"])
    elif recorded is not None:
        check_baseline(result.emulations, recorded)
