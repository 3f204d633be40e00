"""``edgeq peak``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from edgeq.cli.completion import complete_target, complete_via
from edgeq.cli.console import print_table
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

if TYPE_CHECKING:
    from edgeq.progress import Progress
    from edgeq.targets import Target

__all__ = ["command"]


@click.command(
    "peak",
    epilog="""\b
Examples:
  edgeq peak --target cortex-a75
  edgeq peak --target cortex-a7 --via ssh://pi@board.local""",
)
@click.option(
    "--target",
    required=True,
    metavar="NAME|FILE",
    shell_complete=complete_target,
    help="A device of `edgeq targets`, or one's own file.",
)
@click.option(
    "--via",
    default="qemu",
    show_default=True,
    shell_complete=complete_via,
    metavar="qemu|local|ssh://user@host|adb[:serial]",
    help="Count under QEMU, or measure on a device.",
)
@output_options
def command(target: str, via: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    """NEON peak loops: counted under QEMU, or measured on one core of a board.

    Under QEMU it says how many of a loop's instructions are multiply-accumulates, never how fast they are.
    """
    from edgeq.bench.transport import parse_via
    from edgeq.targets import load_target

    device = load_target(target)
    emulated = parse_via(via).kind == "qemu"
    with showing_progress(verbosity(quiet, verbose)) as progress:
        rows = _counted(device, progress) if emulated else _measured(device, via, progress)
    if as_json:
        click.echo(json.dumps({"target": device.name, "via": via, "loops": rows}, indent=2))
        return
    columns = list(rows[0])
    cells = [[_shown(name, row[name]) for name in columns] for row in rows]
    print_table("", [name.replace("_", " ") for name in columns], cells, right=set(range(2, len(columns))))


def _counted(target: Target, progress: Progress) -> list[dict[str, str | int | float]]:
    from edgeq.bench.peak import count_loop, loops_of

    rows: list[dict[str, str | int | float]] = []
    loops = loops_of(target)
    with progress.task("counting", len(loops)) as task:
        for loop in loops:
            found = count_loop(loop, target)
            rows.append(
                {
                    "loop": loop.name,
                    "instruction": loop.form,
                    "instructions": found.instructions,
                    "mac_instructions": found.mac_instructions,
                    "share": found.share,
                }
            )
            task.advance(1, loop.name)
    return rows


def _measured(target: Target, via: str, progress: Progress) -> list[dict[str, str | int | float]]:
    from edgeq.bench.peak import loops_of, measure_loop
    from edgeq.bench.transport import open_transport, parse_via

    rows: list[dict[str, str | int | float]] = []
    loops = loops_of(target)
    with open_transport(parse_via(via)) as device, progress.task("measuring", len(loops)) as task:
        for loop in loops:
            found = measure_loop(loop, target, device)
            rows.append(
                {
                    "loop": loop.name,
                    "instruction": loop.form,
                    "gmacs": found.gmacs,
                    "gmacs_low": found.gmacs_low,
                    "gmacs_high": found.gmacs_high,
                    "peak_gmacs": found.peak_gmacs,
                    "share": found.share,
                }
            )
            task.advance(1, loop.name)
    return rows


def _shown(name: str, value: str | int | float) -> str:
    if name == "share":
        return f"{100 * float(value):.1f} %"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
