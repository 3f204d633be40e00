"""``edgeq convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
    from edgeq.posttraining import convert_file

    conversion = convert_file(model, out, io=io)
    size = out.stat().st_size
    if as_json:
        document = {"path": str(out), "bytes": size, "operators": len(conversion.graph.operators)}
        click.echo(json.dumps({**document, "notes": list(conversion.notes)}, indent=2))
        return
    for note in conversion.notes:
        click.echo(f"{click.style('note:', fg='yellow')} {note}", err=True)
    click.echo(f"{out}  {size / 1000:,.0f} kB, {len(conversion.graph.operators)} operations")
