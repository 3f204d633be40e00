"""``edgeq report``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command(
    "report",
    epilog="""\b
Examples:
  edgeq report out/demo
  edgeq bench out/demo --target cortex-a75 --save bench.json
  edgeq report out/demo --bench bench.json""",
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--bench",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="What edgeq bench --save wrote: adds rooflines and times by operation.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as one JSON document.")
def command(folder: Path, bench: Path | None, as_json: bool) -> None:
    """Draw report.html of a finished build or export again, with what a bench found."""
    from edgeq.report.redraw import PAGE, redraw

    manifest = redraw(folder, bench)
    click.echo(json.dumps(manifest, indent=2) if as_json else folder / PAGE)
