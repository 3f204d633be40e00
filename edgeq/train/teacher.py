"""The network whose answers distillation follows, out of the folder of a finished training."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgeq.data import ImageData
from edgeq.errors import RecipeError
from edgeq.models.weights import few, load_weights
from edgeq.recipe import recipe_of_training
from edgeq.tasks import make_network

__all__ = ["load_teacher"]


def load_teacher(folder: Path, data: ImageData) -> nn.Module:
    """Read the float network that ``edgeq train`` or ``edgeq build`` left.

    Args:
        folder: with its recipe, which names the network, and its weights; a build's ``labels.txt`` is compared.
        data: what the network is to answer for: its images' size and its classes.

    Returns:
        The network on the CPU, in eval mode: images [N, C, H, W] in, logits [N, classes] out.

    Raises:
        FormatError: a file is missing or damaged.
        RecipeError: it is no classifier, or one of other classes.
        ModelError: the network cannot be made, or does not take these images.
    """
    recipe = recipe_of_training(folder)
    if recipe.task != "classify":
        raise RecipeError("a teacher answers with classes", where=folder, got=f"task {recipe.task}", wanted="classify")
    if (folder / "labels.txt").is_file():
        _check_labels(folder / "labels.txt", data)
    model = make_network(recipe, data)
    load_weights(model, folder / "checkpoint.safetensors")
    return model.eval()


def _check_labels(path: Path, data: ImageData) -> None:
    """Refuse a teacher whose classes are others, or in another order."""
    from edgeq.artifact import labels_text

    wanted = labels_text(data.classes)
    if path.stat().st_size != len(wanted) or path.read_bytes() != wanted:
        raise RecipeError("the teacher's classes are others, or in another order", where=path,
                          wanted=few(data.classes), remedy="train it on the same classes")  # fmt: skip
