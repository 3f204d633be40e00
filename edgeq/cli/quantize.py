"""``edgeq quantize``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeq.cli.completion import complete_calibration
from edgeq.cli.console import print_result
from edgeq.cli.options import MODE_OPTIONS, output_options, verbosity
from edgeq.display.progress import showing_progress

if TYPE_CHECKING:
    from edgeq.posttraining import ExportRequest

__all__ = ["command", "quantize_options", "request_from_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


_OPTIONS = [
    click.option(
        "--calibration-data", required=True, metavar="FOLDER|ARCHIVE|FILE.npz", help="Images, or an array an input."
    ),
    click.option(
        "--calibration",
        default="minmax",
        metavar="NAME|FILE",
        shell_complete=complete_calibration,
        help="How ranges are made [minmax].",
    ),
    click.option("--bits", type=int, default=8, help="Bits a weight [8]."),
    click.option(
        "--regularizer", type=click.Choice(["sine", "cosine", "hat"]), default="sine", help="Its grid [sine]."
    ),
    click.option(
        "--scale", type=click.Choice(["tensor", "channel"]), help="Of the weights [channel; tensor in fixed point]."
    ),
    *MODE_OPTIONS,
    click.option(
        "--io",
        type=click.Choice(["uint8", "int8", "int16", "float32"]),
        help="Type of the file's ends [by calibration data and mode].",
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), default=Path("out/model"), help="Output folder [out/model]."
    ),
]


def quantize_options(function: _F) -> _F:
    """What ``export`` and ``quantize`` share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def request_from_options(options: dict[str, Any]) -> ExportRequest:
    from edgeq.grid import Grid
    from edgeq.posttraining import ExportRequest

    power_of_two = options["scale_format"] == "power-of-two"
    return ExportRequest(
        calibration_data=options["calibration_data"],
        calibration=options["calibration"],
        grid=Grid(options["bits"], options["regularizer"], power_of_two),
        per_channel=(options["scale"] or ("tensor" if power_of_two else "channel")) == "channel",
        io=options["io"],
        mode=options["mode"] or "int8",
        layers=options["layers"] or {},
        packed=bool(options["packed"]),
    )


@click.command(
    "quantize",
    epilog="""\b
Examples:
  edgeq quantize model.onnx --calibration-data photos/ --out out/model
  edgeq quantize model.onnx --calibration-data samples.npz --calibration corrected --out out/model
  edgeq quantize model.onnx --calibration-data photos/ --mode int16 --layer stem=float32 --out out/model""",
)
@click.argument("model", type=click.Path(path_type=Path))
@quantize_options
@output_options
def command(model: Path, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> None:
    """A float ONNX model to int8 TFLite and ONNX (post-training)."""
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.api import quantize

        result = quantize(model, request_from_options(options), out, progress=progress)
    print_result(result, as_json=as_json)
