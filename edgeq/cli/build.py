"""``edgeq build``."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from edgeq.cli.console import print_table, showing_progress
from edgeq.cli.options import output_options, recipe_from_options, recipe_options, verbosity

__all__ = ["command"]


@click.command(
    "build",
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
    with showing_progress(verbosity(quiet, verbose)) as progress:
        from edgeq.pipeline import build

        result = build(recipe, out, resume=resume, android=android, command=line, progress=progress)
        for note in result.notes:
            progress.warn(note)
    if as_json:
        click.echo(json.dumps(result.manifest, indent=2))
    else:
        print_summary(result.manifest, out)


def print_summary(manifest: dict[str, Any], out: Path) -> None:
    """The table a build ends in."""
    accuracy, parity = manifest["accuracy"], manifest["parity"]
    sizes = {item["path"]: item["bytes"] for item in manifest["artifacts"]}
    rows = [
        ["PyTorch, float", f"{accuracy['float']:.2f} %", _kb(sizes.get("checkpoint.safetensors"))],
        ["PyTorch, snapped to the grid", f"{accuracy['snapped']:.2f} %", ""],
        ["ONNX int8, onnxruntime", f"{accuracy['onnx']:.2f} %", _kb(sizes.get("model.onnx"))],
        ["TFLite int8, LiteRT with XNNPACK", f"{accuracy['tflite']:.2f} %", _kb(sizes.get("model.tflite"))],
    ]
    data = manifest["data"]
    title = f"{manifest['recipe']['model']} on {data['name']}, {accuracy['samples']} test images"
    print_table(title, ["", "accuracy", "size"], rows, right={1, 2})
    distance = [layer["distance"] for layer in manifest["layers"]]
    lines = [
        f"weights   {parity['codes_kept']:,} of {parity['codes']:,} trained integers in both files, byte for byte",
        f"parity    layers differ by {parity['max_code_difference']} code at most; "
        f"ONNX and TFLite agree on {parity['top1_agreement']:.2f} % of the images",
        f"snap      weights were {sum(distance) / len(distance):.3f} steps from the grid on average",
        f"files     {out}/model.tflite, model.onnx, report.html, manifest.json",
    ]
    if any(path.startswith("android/") for path in sizes):
        lines.append(f"android   {out}/android, to open in Android Studio")
    click.echo("\n".join(lines))


def _kb(size: int | None) -> str:
    return "" if size is None else f"{size / 1000:,.0f} kB"
