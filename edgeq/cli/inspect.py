"""``edgeq inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.console import print_result, print_summary
from edgeq.cli.options import output_options, verbosity

__all__ = ["command"]


@click.command(
    "inspect",
    epilog="""\b
Examples:
  edgeq inspect out/demo/model.tflite --tensors
  edgeq inspect model.onnx --json | jq .counts""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="Every tensor with its grid and size.")
@output_options
def command(file: Path, tensors: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Operations, tensors, grids and sizes of a .tflite, .onnx or .edgeqpack file."""
    from edgeq.examine import inspect

    verbosity(quiet, verbose)
    result = inspect(file)
    print_result(result, as_json=as_json)
    if tensors and not as_json:
        print_summary((result.tensor_table(),))
