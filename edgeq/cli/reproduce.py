"""``edgeq reproduce``."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from edgeq.cli.console import print_table
from edgeq.cli.groups import SuggestingGroup
from edgeq.cli.options import output_options, verbosity

if TYPE_CHECKING:
    from edgeq.reproduce import Table1

__all__ = ["command"]


@click.group("reproduce", cls=SuggestingGroup, epilog="Example: edgeq reproduce table1")
def command() -> None:
    """The paper's tables, computed again."""


@command.command("table1", epilog="Example: edgeq reproduce table1 --json")
@output_options
def table1_command(as_json: bool, quiet: bool, verbose: bool) -> None:
    """Peak rates of the devices: as printed, and with every row counted alike."""
    verbosity(quiet, verbose)
    from edgeq.reproduce import reproduce_table1

    table = reproduce_table1()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(table), indent=2))
        return
    _print(table)


def _print(table: Table1) -> None:
    printed = [
        [row.target, _number(row.cores), _number(row.ghz), _number(row.watts), *map(_number, row.gops.values())]
        for row in table.printed
    ]
    columns = ["", "cores", "GHz", "W", "fp32", "fp16", "int8"]
    print_table("Table 1 as printed, peak Gops", columns, printed, right=set(range(1, 7)))
    click.echo()
    corrected = [
        [
            row.target,
            row.data_type,
            row.instruction,
            _range(row.gmacs, row.gmacs_high),
            _range(row.gops, row.gops_high),
            _number(row.printed_gops),
            _number(row.gops_per_watt),
        ]
        for row in table.corrected
    ]
    columns = ["", "type", "instruction", "GMAC/s", "Gops", "printed", "Gops/W"]
    print_table("Counted alike: two operations a multiply-accumulate", columns, corrected, right={3, 4, 5, 6})
    click.echo()
    for note in table.notes:
        click.echo(note)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _range(low: float, high: float) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"
