"""``edgeq search-bits``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.completion import complete_data
from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

__all__ = ["command"]


@click.command(
    "search-bits",
    epilog="""\b
Examples:
  edgeq search-bits out/float
  edgeq search-bits out/float --tolerance 1 --tolerance 2 --tolerance 5 --json
  edgeq search-bits out/float --weights-only --out bits.toml""",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tolerance", multiple=True, type=float, default=[1.0], help="Points that may be lost; repeated [1].")
@click.option("--data", metavar="digits|PATH", shell_complete=complete_data, help="The data, if they have moved.")
@click.option("--samples", type=click.IntRange(1), default=512, help="Validation images, of the training set [512].")
@click.option("--weights-only", is_flag=True, help="Leave data at 8 bits, as an int8 file has them.")
@click.option("--budget", type=click.IntRange(1), default=400, help="The most measurements of the network [400].")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE.toml", help="Write the build's recipe with the bits."
)
@output_options
def command(
    folder: Path,
    tolerance: tuple[float, ...],
    data: str | None,
    samples: int,
    weights_only: bool,
    budget: int,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """The fewest bits of weights and data by layer that keep a network's accuracy.

    Of what edgeq build or edgeq train left: its float network is rounded at other bits and measured on a part of the
    training images. Prints a [layers] table for a recipe.
    """
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.examine import search_bits

        result = search_bits(
            folder,
            tolerance,
            data=data,
            samples=samples,
            data_bits=not weights_only,
            budget=budget,
            recipe_out=out,
            progress=progress,
        )
    print_result(result, as_json=as_json)
