"""``edgeq inspect``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from edgeq.cli.console import print_table

__all__ = ["command"]


@click.command("inspect", epilog="Example: edgeq inspect out/demo/model.tflite --tensors")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="Every tensor with its grid and size.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(file: Path, tensors: bool, as_json: bool) -> None:
    """Operations, tensors, grids and sizes of a .tflite or .onnx file."""
    from edgeq.inspection import inspect_file

    found = inspect_file(file)
    if as_json:
        document = dataclasses.asdict(found)
        document |= {
            "counts": found.counts,
            "constant_bytes": found.constant_bytes,
            "int8_share_of_constants": found.int8_share_of_constants,
            "integer_share_of_operations": found.integer_share_of_operations,
            "macs": found.macs,
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{found.path}: {found.format}, {found.size_bytes:,} bytes, {found.macs:,} multiply-accumulates")
    for word, ends in (("input", found.inputs), ("output", found.outputs)):
        for row in ends:
            click.echo(f"  {word:6}  {row.name}  {row.dtype} {_shape(row.shape)}  {row.grid}".rstrip())
    for key, value in found.facts.items():
        if value:
            click.echo(f"  {key}: {_fact(value)}")
    click.echo(
        f"  int8: {100 * found.int8_share_of_constants:.1f} % of {found.constant_bytes:,} constant bytes, "
        f"{100 * found.integer_share_of_operations:.1f} % of {len(found.operations)} operations are integer"
    )
    rows = [
        [item.kind, item.output, f"{item.dtype} {_shape(item.shape)}", f"{item.macs:,}"] for item in found.operations
    ]
    print_table("", ["operation", "output", "", "MACs"], rows, right={3})
    if tensors:
        table = [
            [row.name, f"{row.dtype} {_shape(row.shape)}", f"{row.size_bytes:,}" if row.size_bytes else "", row.grid]
            for row in found.tensors
        ]
        print_table("", ["tensor", "", "bytes", "grid: real ="], table, right={2})


def _shape(shape: tuple[int | str, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "scalar"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({size} bytes)" for key, size in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
