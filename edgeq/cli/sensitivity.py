"""``edgeq sensitivity``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.completion import complete_calibration, complete_data
from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

__all__ = ["command"]


@click.command(
    "sensitivity",
    epilog="""\b
Examples:
  edgeq sensitivity out/demo
  edgeq sensitivity model.onnx --data photos.zip --bits 4 --calibration corrected
  edgeq sensitivity model.onnx --calibration-data samples.npz --json""",
)
@click.argument("source", type=click.Path(path_type=Path), metavar="FOLDER|FILE.onnx")
@click.option(
    "--data",
    metavar="digits|PATH",
    shell_complete=complete_data,
    help="Labelled images [of a build: its own].",
)
@click.option("--calibration-data", metavar="FOLDER|ARCHIVE|FILE.npz", help="Images or arrays without labels.")
@click.option(
    "--calibration", metavar="NAME|FILE", shell_complete=complete_calibration, help="How ranges are made [minmax]."
)
@click.option("--bits", type=int, help="Bits a weight [8].")
@click.option("--samples", type=click.IntRange(1), default=128, help="Run through each variant [128].")
@output_options
def command(
    source: Path,
    data: str | None,
    calibration_data: str | None,
    calibration: str | None,
    bits: int | None,
    samples: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Which layer costs how much: one layer quantized at a time, and all but one.

    Of a build, with its codes and test images; or of a float ONNX model, rounded as by edgeq quantize.
    """
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.examine import sensitivity

        result = sensitivity(
            source,
            data=data,
            calibration_data=calibration_data,
            calibration=calibration,
            bits=bits,
            samples=samples,
            progress=progress,
        )
    print_result(result, as_json=as_json)
