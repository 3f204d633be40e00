"""``edgeq targets``."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from edgeq.cli.completion import complete_target
from edgeq.cli.console import print_table
from edgeq.cli.groups import SuggestingGroup
from edgeq.cli.options import output_options, verbosity

if TYPE_CHECKING:
    from edgeq.targets import Target

__all__ = ["command"]

COST_COLUMNS = 64
_IN_TABLES = ("schema", "name", "description", "instructions", "vendor_peaks", "pipeline", "costs", "sources")


@click.group(
    "targets",
    cls=SuggestingGroup,
    invoke_without_command=True,
    epilog="""\b
Examples:
  edgeq targets
  edgeq targets show cortex-a75""",
)
@output_options
@click.pass_context
def command(ctx: click.Context, as_json: bool, quiet: bool, verbose: bool) -> None:
    """List the devices edgeq knows, or show one."""
    given = {"as_json": as_json, "quiet": quiet, "verbose": verbose}
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command, **given)
    elif any(given.values()):
        raise click.UsageError(f"Give the options after {ctx.invoked_subcommand}: edgeq targets show NAME --json.")


@command.command("list", epilog="Example: edgeq targets list --json")
@output_options
def list_command(as_json: bool, quiet: bool, verbose: bool) -> None:
    """The devices of targets/."""
    verbosity(quiet, verbose)
    from edgeq.targets import list_targets, load_target

    targets = [load_target(name) for name in list_targets()]
    if as_json:
        click.echo(
            json.dumps([{"name": target.name, "description": target.description} for target in targets], indent=2)
        )
    else:
        print_table("", ["name", "description"], [[target.name, target.description] for target in targets])


@command.command("show", epilog="Example: edgeq targets show cortex-a75")
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_target)
@output_options
def show_command(target: str, as_json: bool, quiet: bool, verbose: bool) -> None:
    """All figures of a device, each with its source."""
    verbosity(quiet, verbose)
    from edgeq.targets import load_target

    found = load_target(target)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    _print(found)


def _print(found: Target) -> None:
    from edgeq.cost_table import basis

    click.echo(f"{found.name}: {found.description}\n")
    figures = [
        [item.name, _shown(item.name, getattr(found, item.name)), found.sources.get(item.name, "")]
        for item in dataclasses.fields(found)
        if item.name not in _IN_TABLES and getattr(found, item.name) not in (None, (), 0)
    ]
    print_table("", ["", "", "source"], figures)
    peaks = [
        [
            key,
            row.mnemonic,
            f"{row.lanes} / {_range(row.reciprocal_throughput_low, row.reciprocal_throughput)}",
            row.source,
        ]
        for key, row in found.instructions.items()
    ]
    peaks += [[key, "", f"{row.ops_per_s / 1e9:g} Gops", row.source] for key, row in found.vendor_peaks.items()]
    if peaks:
        click.echo()
        print_table("Peaks: lanes / cycles, or the vendor's figure", ["type", "instruction", "", "source"], peaks)
    if found.pipeline is not None:
        order = "in order" if found.pipeline.in_order else "out of order"
        click.echo(f"\nPipeline: {found.pipeline.issue_width} a cycle, {order} ({found.pipeline.source})\n")
        costs = [
            [", ".join(row.forms), _range(row.cycles[0], row.cycles[-1]), row.pipe or row.pairs, basis(row.source)]
            for row in found.costs
        ]
        costs = [[_shortened(forms), *rest] for forms, *rest in costs]
        print_table(
            "Costs; --json has each one's source", ["instructions", "cycles", "pipe", "basis"], costs, right={1}
        )


def _range(low: float | None, high: float) -> str:
    return f"{high:g}" if low is None or low == high else f"{low:g} to {high:g}"


def _shortened(text: str) -> str:
    return text if len(text) <= COST_COLUMNS else text[: COST_COLUMNS - 4].rsplit(",", 1)[0] + ", ..."


def _shown(name: str, value: object) -> str:
    if name in ("midr_implementer", "midr_part"):
        return f"{value:#x}"
    if isinstance(value, tuple):
        joint = " to " if value and isinstance(value[0], float) else ", "
        return joint.join(_shown(name, item) for item in value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value)
