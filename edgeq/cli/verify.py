"""``edgeq verify``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from edgeq.cli.console import print_table, showing_progress
from edgeq.cli.options import output_options, verbosity

__all__ = ["command"]


@click.command("verify", epilog="Example: edgeq verify out/demo")
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
        from edgeq.reverify import verify_build

        found = verify_build(folder, data=data, reference_samples=reference_samples, progress=progress)
    if as_json:
        document = {
            "accuracy": {**found.accuracy, "samples": found.samples, "reference_samples": found.reference_samples},
            "parity": {
                "max_code_difference": found.max_code_difference,
                "top1_agreement": found.top1_agreement,
                "reference_agreement": found.reference_agreement,
                "codes": found.codes,
                "codes_kept": found.codes,
                "layers": [dataclasses.asdict(layer) for layer in found.layers],
            },
        }
        click.echo(json.dumps(document, indent=2))
        return
    names = {
        "float": "PyTorch, float",
        "snapped": "PyTorch, snapped",
        "onnx": "onnxruntime",
        "tflite": "LiteRT, XNNPACK",
        "reference": "LiteRT, reference kernels",
    }
    rows = [
        [label, f"{found.accuracy[key]:.2f} %", str(found.reference_samples if key == "reference" else found.samples)]
        for key, label in names.items()
    ]
    print_table("", ["runtime", "accuracy", "images"], rows, right={1, 2})
    layer_rows = [
        [
            layer.name,
            layer.operation,
            "-" if layer.onnx_difference is None else str(layer.onnx_difference),
            str(layer.xnnpack_difference),
            "yes" if layer.delegated else f"no: {layer.reason}",
        ]
        for layer in found.layers
    ]
    columns = ["layer", "operation", "onnxruntime", "XNNPACK", "taken by XNNPACK"]
    print_table("Largest difference in codes from LiteRT's reference kernels", columns, layer_rows, right={2, 3})
    click.echo(f"{found.codes:,} of {found.codes:,} trained integers in both files, byte for byte")
