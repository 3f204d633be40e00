"""``edgeq unpack``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity

__all__ = ["command"]


@click.command(
    "unpack",
    epilog="""\b
Examples:
  edgeq unpack model.edgeqpack
  edgeq unpack model.edgeqpack --out model.tflite""",
)
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The .tflite file [the package's name, .tflite].")
@output_options
def command(package: Path, out: Path | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """The .tflite file in a package, byte for byte."""
    from edgeq.api import unpack

    verbosity(quiet, verbose)
    print_result(unpack(package, out), as_json=as_json)
