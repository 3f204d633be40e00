"""``edgeq convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeq.cli.console import print_result

if TYPE_CHECKING:
    from edgeq.tflite.convert import Interface

__all__ = ["command"]


@click.command("convert", epilog="Example: edgeq convert model_qdq.onnx model.tflite")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--io", type=click.Choice(["uint8", "int8", "float32"]), default="int8", help="Of the file's ends [int8]."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(model: Path, out: Path, io: Interface, as_json: bool) -> None:
    """A QDQ ONNX model to int8 TFLite, codes and scales kept."""
    from edgeq.api import convert

    result = convert(model, out, io=io)
    if not as_json:
        for note in result.notes:
            click.echo(f"{click.style('note:', fg='yellow')} {note}", err=True)
    print_result(result, as_json=as_json)
