"""``edgeq convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

if TYPE_CHECKING:
    from edgeq.tflite.convert import Interface

__all__ = ["command"]


@click.command(
    "convert",
    epilog="""\b
Examples:
  edgeq convert model_qdq.onnx model.tflite
  edgeq convert model_qdq.onnx model.tflite --io uint8""",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--io", type=click.Choice(["uint8", "int8", "int16", "float32"]), default="int8", help="Of the file's ends [int8]."
)
@click.option("--calibration-data", metavar="PATH", help="Images, or .npz: gives grids to what was left in float.")
@output_options
def command(
    model: Path, out: Path, io: Interface, calibration_data: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """A QDQ or QOperator ONNX model to int8 TFLite, codes and scales kept."""
    from edgeq.api import convert

    with showing_progress(verbosity(quiet, verbose)) as progress:
        result = convert(model, out, io=io, calibration_data=calibration_data, progress=progress)
        for note in result.notes:
            progress.warn(note)
    print_result(result, as_json=as_json)
