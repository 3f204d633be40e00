"""``edgeq targets``."""

from __future__ import annotations

import dataclasses
import json

import click

from edgeq.cli.console import print_table

__all__ = ["command"]


@click.group("targets", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the devices edgeq knows, or show one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_command(as_json: bool) -> None:
    """The devices of targets/."""
    from edgeq.targets import list_targets, load_target

    targets = [load_target(name) for name in list_targets()]
    if as_json:
        click.echo(
            json.dumps([{"name": target.name, "description": target.description} for target in targets], indent=2)
        )
    else:
        print_table("", ["name", "description"], [[target.name, target.description] for target in targets])


@command.command("show")
@click.argument("target", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show_command(target: str, as_json: bool) -> None:
    """All figures of a device, each with its source."""
    from edgeq.targets import load_target

    found = load_target(target)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    rows: list[list[str]] = []
    for item in dataclasses.fields(found):
        value = getattr(found, item.name)
        if isinstance(value, dict):
            rows += [[f"{item.name}.{key}", _shown(part)] for key, part in value.items()]
        elif value not in (None, ()):
            rows.append([item.name, _shown(value)])
    print_table("", ["", found.name], rows)


def _shown(value: object) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{item.name} {getattr(value, item.name)}" for item in dataclasses.fields(value))
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
