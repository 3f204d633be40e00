"""``edgeq build``."""

from __future__ import annotations

import shlex
import sys
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
    "build",
    cls=SectionedCommand,
    epilog="""\b
Examples:
  edgeq build --bits 8 --target cortex-a75
  edgeq build --data photos.zip --image-size 96 --epochs 40 --out out/photos
  edgeq build --model my_package.nets:tiny --recipe recipe.toml
  edgeq build --data photos.zip --image-size 96 --android --out out/photos
  edgeq build --resume --out out/photos""",
)
@recipe_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/build"), help="Output folder [out/build].")
@click.option("--resume", is_flag=True, help="Go on where an interrupted build stopped.")
@click.option("--android", is_flag=True, help="Write an Android app around the model, too: a Gradle project.")
@output_options
def command(
    recipe_file: Path | None,
    out: Path,
    resume: bool,
    android: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Train, export and verify: images in, a verified int8 TFLite and ONNX out."""
    recipe = recipe_from_options(recipe_file, options)
    line = shlex.join(["edgeq", *sys.argv[1:]])
    keep_freed_memory()
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.api import build

        result = build(recipe, out, resume=resume, android=android, command=line, progress=progress)
        for note in result.notes:
            progress.warn(note)
    print_result(result, as_json=as_json)
