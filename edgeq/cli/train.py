"""``edgeq train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli.console import print_result
from edgeq.cli.memory import keep_freed_memory
from edgeq.cli.options import output_options, recipe_from_options, recipe_options, verbosity
from edgeq.cli.sections import SectionedCommand
from edgeq.display.progress import showing_progress

__all__ = ["command"]


@click.command(
    "train",
    cls=SectionedCommand,
    epilog="""\b
Examples:
  edgeq train --data photos.zip --image-size 96 --epochs 40 --out out/trained
  edgeq train --data photos.zip --image-size 96 --epochs 40 --out out/trained --resume""",
)
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
    keep_freed_memory()
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.api import train

        result = train(recipe, out, resume=resume, progress=progress)
    print_result(result, as_json=as_json)
