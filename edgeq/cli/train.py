"""``edgeq train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgeq.cli.console import showing_progress
from edgeq.cli.options import output_options, recipe_from_options, recipe_options, verbosity

__all__ = ["command"]


@click.command("train", epilog="Example: edgeq train --data photos.zip --epochs 40 --out out/trained")
@recipe_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/train"), help="Output folder [out/train].")
@click.option("--resume", is_flag=True, help="Go on where an interrupted training stopped.")
@output_options
def command(
    recipe_file: Path | None, out: Path, resume: bool, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Train a network onto its grid; stop there.

    Leaves checkpoint.safetensors and grid.safetensors, which edgeq export takes, and the recipe.
    """
    recipe = recipe_from_options(recipe_file, options)
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.pipeline import train_only

        manifest = train_only(recipe, out, resume=resume, progress=progress)
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
    else:
        accuracy = manifest["accuracy"]
        click.echo(f"float {accuracy['float']:.2f} %, snapped {accuracy['snapped']:.2f} %, in {out}")
