"""What a network is trained for. Beside classes: targets that follow from the input alone, judged by squared error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgeq.data import ImageData
    from edgeq.recipe import Recipe
    from edgeq.tflite.convert import Head
    from edgeq.tflite.metadata import ImageClassifier

__all__ = [
    "Task",
    "classifier_of",
    "head_of",
    "judged",
    "make_network",
    "mean_squared_error",
    "target_of",
    "targets_of",
]

TOP = 5

Task = Literal["classify", "reconstruct", "sum"]


def target_of(task: Task, inputs: torch.Tensor) -> torch.Tensor:
    """What a network should give for inputs float32 [N, C, H, W]: ``reconstruct`` the same, ``sum`` [N, 1]."""
    return inputs if task == "reconstruct" else inputs.flatten(1).sum(1, keepdim=True)


def targets_of(recipe: Recipe, data: ImageData) -> NDArray[np.float32] | None:
    """What the network should give for each test image; None of classes, which the data have labels for."""
    from edgeq.data import normalize

    if recipe.task == "classify":
        return None
    targets: NDArray[np.float32] = target_of(recipe.task, normalize(data.test_images)).numpy()
    return targets


def mean_squared_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Over all values, in the units of the network's input, of which a pixel is 1/128."""
    return float(np.square(found.astype(np.float64) - wanted).mean())


def make_network(recipe: Recipe, data: ImageData) -> nn.Module:
    """The recipe's network with its initial weights, checked to give what the task asks for.

    Raises:
        ModelError: as :func:`edgeq.models.create_model`.
    """
    from edgeq.models import create_model

    classes = 1 if recipe.task == "sum" else len(data.classes)
    shape = data.input_shape if recipe.task == "reconstruct" else (classes,)
    return create_model(
        recipe.model, num_classes=classes, input_shape=data.input_shape, seed=recipe.seed, output_shape=shape
    )


def head_of(recipe: Recipe) -> Head:
    """What a build's file ends with: scores where its ends are bytes."""
    return "softmax" if recipe.quantize.ends == "uint8" and recipe.task == "classify" else "none"


def classifier_of(recipe: Recipe, data_name: str, classes: tuple[str, ...]) -> ImageClassifier | None:
    """What a build's file says of itself; nothing where it names no classes."""
    from edgeq.android.names import app_name
    from edgeq.tflite.metadata import ImageClassifier

    if recipe.task != "classify":
        return None
    return ImageClassifier(f"{app_name(recipe.model)} on {data_name}", classes, scores=head_of(recipe) == "softmax")


def judged(recipe: Recipe, data: ImageData, logits: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Of each stage's outputs: the manifest's ``accuracy`` in percent, or its ``error`` where there are no classes."""
    targets, labels = targets_of(recipe, data), data.test_labels.numpy()
    if targets is not None:
        errors = {name: mean_squared_error(rows, targets) for name, rows in logits.items()}
        return {"error": {**errors, "samples": len(targets)}}
    accuracy = {name: round(100 * float((rows.argmax(axis=1) == labels).mean()), 4) for name, rows in logits.items()}
    return {"accuracy": {**accuracy, **_top5(logits, labels), "samples": len(labels)}}


def _top5(logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Percent of the images whose class is among the five likeliest, where there are more than five."""
    if next(iter(logits.values())).shape[1] <= TOP:
        return {}
    found = {}
    for name, rows in logits.items():
        best = np.argpartition(rows, -TOP, axis=1)[:, -TOP:]
        found[name] = round(100 * float((best == labels[:, None]).any(axis=1).mean()), 4)
    return {"top5": found}
