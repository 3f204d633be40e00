"""The files that a build leaves besides the network's weights: artifact, golden vectors, manifest, report."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.grid import QuantizedWeight
from edgeq.manifest import SCHEMA, artifact_entries, layer_entries, package_versions
from edgeq.recipe import Recipe, recipe_to_dict, recipe_to_toml

if TYPE_CHECKING:
    from edgeq.artifact import Artifact
    from edgeq.data import ImageData
    from edgeq.train import TrainResult
    from edgeq.verify.report import Verification

__all__ = ["OUTPUTS", "build_manifest", "copy_files", "manifest_head", "write_artifact", "write_curves", "write_report"]

OUTPUTS = (
    "model.tflite",
    "model.onnx",
    "checkpoint.safetensors",
    "grid.safetensors",
    "labels.txt",
    "recipe.toml",
    "golden.npz",
    "report.json",
)


def write_artifact(artifact: Artifact, data: ImageData, recipe: Recipe, folder: Path) -> None:
    """The model in both forms, its class names and its recipe."""
    from edgeq.artifact import labels_text

    (folder / "model.tflite").write_bytes(artifact.content)
    (folder / "model.onnx").write_bytes(artifact.onnx_bytes)
    if recipe.task == "classify":
        (folder / "labels.txt").write_bytes(labels_text(data.classes))
    (folder / "recipe.toml").write_text(recipe_to_toml(recipe), encoding="utf-8")


def copy_files(source: Path, folder: Path) -> None:
    """Copy the files of a finished build, but for its subfolders."""
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def build_manifest(
    recipe: Recipe,
    data: ImageData,
    trained: Mapping[str, QuantizedWeight],
    found: Verification,
    training: TrainResult,
    folder: Path,
    compressed: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``manifest.json``, and ``golden.npz`` beside it."""
    from edgeq.golden import save_golden

    save_golden(folder / "golden.npz", found.golden_inputs, found.golden_outputs)
    return {
        **manifest_head(recipe, data, training, compressed),
        **found.judged(),
        "layers": layer_entries(trained),
        "parity": {
            "max_code_difference": found.max_code_difference,
            "max_float_error": found.max_float_error,
            **_agreement(found),
            "samples": found.samples,
            "layer_samples": found.layer_samples,
            "codes": found.codes,
            "codes_kept": found.codes,
            "layers": [dataclasses.asdict(layer) for layer in found.layers],
        },
        "artifacts": [],
        "stages": [],
        "bench": [],
    }


def _agreement(found: Verification) -> dict[str, float | None]:
    """On how many images two agree, where there are classes."""
    if found.top1_agreement is None:
        return {}
    return {"top1_agreement": found.top1_agreement, "snapped_agreement": found.snapped_agreement}


def manifest_head(
    recipe: Recipe, data: ImageData, training: TrainResult, compressed: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    versions = package_versions()
    return {
        "schema": SCHEMA,
        "edgeq": versions["edgeq"],
        "versions": versions,
        "recipe": json.loads(json.dumps(recipe_to_dict(recipe))),  # as a reader of the file has it
        "seed": recipe.seed,
        "mode": recipe.quantize.mode,
        "data": {
            "name": data.name,
            "train": len(data.train_images),
            "test": len(data.test_images),
            "sha256": data.sha256,
        },
        "training": {
            "images_per_second": round(training.images_per_second, 1),
            "precision": training.precision,
            "device": training.device,
        },
        **({"compress": [dict(entry) for entry in compressed]} if compressed else {}),
    }


def write_report(
    manifest: dict[str, Any],
    data: ImageData,
    found: Verification,
    training: TrainResult,
    command: str,
    folder: Path,
    others: Sequence[str] = (),
) -> None:
    """``report.json``, and the page drawn from the folder as ``edgeq report`` will draw it again.

    The manifest gets its ``artifacts``: all files, with ``others`` that are there already.
    """
    from edgeq.report.details import gather_details, write_details
    from edgeq.report.gather import gather_report
    from edgeq.report.page import PAGE, render_report

    write_details(gather_details(data, found, training.history, command), folder / "report.json")
    manifest["artifacts"] = artifact_entries(folder, (*OUTPUTS, *others))
    (folder / PAGE).write_text(render_report(gather_report(folder, manifest)), encoding="utf-8")
    manifest["artifacts"] += artifact_entries(folder, [PAGE])


def write_curves(training: TrainResult, folder: Path) -> None:
    """The ``report.json`` of a training alone, for ``edgeq report``."""
    from edgeq.report.content import Details
    from edgeq.report.details import finite_history, write_details

    write_details(Details(history=finite_history(training.history)), folder / "report.json")
