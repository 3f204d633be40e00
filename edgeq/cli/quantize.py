"""``edgeq quantize``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeq.cli.console import showing_progress
from edgeq.cli.options import output_options, verbosity

if TYPE_CHECKING:
    from edgeq.posttraining import ExportRequest

__all__ = ["command", "print_manifest", "quantize_options", "request_from_options"]

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = [
    click.option(
        "--calibration-data", required=True, metavar="FOLDER|ARCHIVE|FILE.npz", help="Images, or an array an input."
    ),
    click.option("--calibration", default="minmax", metavar="NAME|FILE", help="How ranges are made [minmax]."),
    click.option("--bits", type=int, default=8, help="Bits a weight [8]."),
    click.option(
        "--regularizer", type=click.Choice(["sine", "cosine", "hat"]), default="sine", help="Its grid [sine]."
    ),
    click.option(
        "--scale", type=click.Choice(["tensor", "channel"]), default="channel", help="Of the weights [channel]."
    ),
    click.option(
        "--io", type=click.Choice(["uint8", "int8", "float32"]), help="Type of the file's ends [by calibration data]."
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

    return ExportRequest(
        calibration_data=options["calibration_data"],
        calibration=options["calibration"],
        grid=Grid(options["bits"], options["regularizer"]),
        per_channel=options["scale"] == "channel",
        io=options["io"],
    )


def print_manifest(manifest: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
        return
    sizes = {item["path"]: item["bytes"] for item in manifest["artifacts"]}
    parity = manifest["parity"]
    click.echo(f"{out}/model.tflite  {sizes['model.tflite'] / 1000:,.0f} kB")
    click.echo(f"{out}/model.onnx    {sizes['model.onnx'] / 1000:,.0f} kB")
    click.echo(
        f"layers differ by {parity['max_code_difference']} code at most between runtimes; "
        f"{parity['codes_kept']:,} of {parity['codes']:,} integers in both files"
    )


@click.command("quantize", epilog="Example: edgeq quantize model.onnx --calibration-data photos/ --out out/model")
@click.argument("model", type=click.Path(path_type=Path))
@quantize_options
@output_options
def command(model: Path, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> None:
    """A float ONNX model to int8 TFLite and ONNX (post-training)."""
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.posttraining import quantize_file

        manifest = quantize_file(model, request_from_options(options), out, progress=progress)
    print_manifest(manifest, out, as_json)
