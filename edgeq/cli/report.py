"""``edgeq report``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

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
@output_options
def command(folder: Path, bench: Path | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Draw report.html of a finished build or export again, with what a bench found."""
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.examine import report

        result = report(folder, bench, progress=progress)
    print_result(result, as_json=as_json)
