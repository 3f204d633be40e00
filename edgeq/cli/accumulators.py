"""``edgeq accumulators``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.completion import complete_data
from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

__all__ = ["command"]


@click.command(
    "accumulators",
    epilog="""\b
Examples:
  edgeq accumulators out/demo
  edgeq accumulators model.tflite --chain 4
  edgeq accumulators out/demo --bits 18 --bits 16 --samples 64 --json""",
)
@click.argument("artifact", type=click.Path(path_type=Path), metavar="FOLDER|FILE.tflite")
@click.option("--bits", multiple=True, type=click.IntRange(2, 32), help="A width to try on images; repeated.")
@click.option(
    "--data", metavar="digits|PATH", shell_complete=complete_data, help="Labelled images [of a build: its own]."
)
@click.option("--samples", type=click.IntRange(1), default=32, help="Test images that are run [32].")
@click.option("--chain", type=click.IntRange(1, 1024), default=2, help="Products that a kernel adds in int16 [2].")
@output_options
def command(
    artifact: Path,
    bits: tuple[int, ...],
    data: str | None,
    samples: int,
    chain: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """How wide the accumulators of an int8 file must be.

    Proved for every input from the file's own codes, layer by layer, for sums of any width and for the int16 chains of
    VMULL.S8 and VMLAL.S8; with data also what is seen, and the accuracy with accumulators of --bits.
    """
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.examine import accumulators

        result = accumulators(artifact, data=data, bits=bits, chain=chain, samples=samples, progress=progress)
    print_result(result, as_json=as_json)
