"""Collect what the report shows from a finished build."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeq.grid import QuantizedWeight, broadcast_step
from edgeq.recipe import Recipe, recipe_to_toml
from edgeq.report.content import Disagreement, LayerView, ReportInput

if TYPE_CHECKING:
    from edgeq.data import ImageData
    from edgeq.train import TrainResult
    from edgeq.verify import Verification

__all__ = ["gather_report"]

BINS = 41
DISAGREEMENTS = 24


def gather_report(
    manifest: Mapping[str, Any],
    data: ImageData,
    trained: Mapping[str, QuantizedWeight],
    found: Verification,
    training: TrainResult,
    checkpoint: Path,
    command: str,
    recipe: Recipe,
) -> ReportInput:
    """The report's input; the float weights are read back from ``checkpoint``."""
    from safetensors.numpy import load_file

    weights = load_file(checkpoint)
    labels = data.test_labels.numpy()
    classes = len(data.classes)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, found.predictions), 1)
    differing = np.flatnonzero(found.predictions != found.float_predictions)[:DISAGREEMENTS]
    return ReportInput(
        manifest=manifest,
        history=[dataclasses.asdict(log) for log in training.history],
        layers=[layer_view(name, weight, weights[f"{name}.weight"]) for name, weight in trained.items()],
        parity=found.layers,
        classes=data.classes,
        confusion=confusion,
        disagreements=[
            Disagreement(
                np.ascontiguousarray(data.test_images[int(i)].permute(1, 2, 0).numpy()),
                int(labels[i]),
                int(found.float_predictions[i]),
                int(found.predictions[i]),
            )
            for i in differing
        ],
        command=command,
        recipe_toml=recipe_to_toml(recipe),
    )


def layer_view(name: str, weight: QuantizedWeight, values: NDArray[np.float32]) -> LayerView:
    """One layer before and after the snap."""
    qmax = weight.grid.qmax
    position = values.astype(np.float64) / broadcast_step(weight.step, values.ndim) - weight.codes
    if weight.grid.function == "cosine":  # its points lie two codes apart
        position = position / 2
    histogram, _ = np.histogram(np.clip(position, -0.5, 0.5), bins=BINS, range=(-0.5, 0.5))
    return LayerView(
        name=name,
        shape=weight.codes.shape,
        bits=weight.grid.bits,
        step_min=float(weight.step.min()),
        step_max=float(weight.step.max()),
        code_counts=np.bincount(weight.codes.ravel().astype(np.int64) + qmax, minlength=2 * qmax + 1),
        position_histogram=histogram.astype(np.int64),
    )
