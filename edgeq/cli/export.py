"""``edgeq export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli.completion import complete_model
from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.cli.quantize import quantize_options, request_from_options
from edgeq.display.progress import showing_progress

__all__ = ["command"]


def _shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    shapes = []
    for value in values:
        try:
            sizes = tuple(int(part) for part in value.split(","))
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not a list of sizes such as 3,224,224.") from error
        if min(sizes) < 1:
            raise click.BadParameter(f"{value!r} has a size below 1.")
        shapes.append(sizes)
    return tuple(shapes)


@click.command(
    "export",
    epilog="""\b
Example:
  edgeq export --model nets.py:detector --checkpoint detector.safetensors \\
      --input-shape 3,96,96 --calibration-data photos/ --out out/detector""",
)
@click.option(
    "--model",
    required=True,
    metavar="NAME|MODULE:FACTORY|FILE.py:FACTORY",
    shell_complete=complete_model,
    help="The network.",
)
@click.option(
    "--input-shape", "shapes", callback=_shapes, multiple=True, required=True, metavar="C,H,W", help="Once an input."
)
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="FILE", help="Weights, safetensors.")
@click.option("--grid", "grid_file", type=click.Path(path_type=Path), metavar="FILE", help="grid.safetensors to keep.")
@click.option("--classes", type=click.IntRange(1), default=10, help="Outputs of a built-in network [10].")
@quantize_options
@output_options
def command(
    model: str,
    shapes: tuple[tuple[int, ...], ...],
    checkpoint: Path | None,
    grid_file: Path | None,
    classes: int,
    out: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Any PyTorch network to int8 TFLite and ONNX."""
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.api import export

        result = export(
            model,
            shapes,
            request_from_options(options),
            out,
            checkpoint=checkpoint,
            grid=grid_file,
            classes=classes,
            progress=progress,
        )
    print_result(result, as_json=as_json)
