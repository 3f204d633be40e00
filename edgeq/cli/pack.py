"""``edgeq pack``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.console import print_result, print_summary
from edgeq.cli.options import output_options, verbosity

__all__ = ["command"]


@click.command(
    "pack",
    epilog="""\b
Examples:
  edgeq pack out/demo
  edgeq pack model.tflite --out model.edgeqpack --tensors""",
)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The package [the .tflite's name, .edgeqpack].")
@click.option("--tensors", is_flag=True, help="Every tensor with its form and bytes.")
@output_options
def command(artifact: Path, out: Path | None, tensors: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """A .tflite, or a build's, as a small package that unpacks to the very same bytes."""
    from edgeq.api import pack

    verbosity(quiet, verbose)
    result = pack(artifact, out)
    print_result(result, as_json=as_json)
    if tensors and not as_json:
        print_summary((result.tensor_table(),))
