"""``edgeq verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli.console import print_result
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

__all__ = ["command"]


@click.command(
    "verify",
    epilog="""\b
Examples:
  edgeq verify out/demo
  edgeq verify out/photos --data /mnt/photos.zip --json""",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data", metavar="digits|PATH", help="The data, where they are no longer where the recipe says.")
@click.option("--reference-samples", type=click.IntRange(1), help="Images for LiteRT's slow reference kernels [256].")
@output_options
def command(
    folder: Path, data: str | None, reference_samples: int | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Check a build again, in every runtime.

    Its files against the manifest, the accuracy in PyTorch, onnxruntime and LiteRT, every layer in codes, and the
    integers byte for byte.
    """
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.examine import verify

        result = verify(folder, data=data, reference_samples=reference_samples, progress=progress)
    print_result(result, as_json=as_json)
