"""The networks whose answers distillation follows, out of the folders of finished trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeq.data import ImageData
from edgeq.errors import RecipeError
from edgeq.models.weights import few, load_weights
from edgeq.recipe import recipe_of_training
from edgeq.tasks import make_network

__all__ = ["load_teachers"]


class _Mean(nn.Module):
    """The mean of several networks' logits [N, classes]."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


def load_teachers(folders: Sequence[str], data: ImageData) -> nn.Module:
    """Read the float networks that ``edgeq train`` or ``edgeq build`` left.

    Args:
        folders: one or more, with recipes, which name the networks, and weights; a build's ``labels.txt`` is compared.
        data: what the networks are to answer for: its images' size and its classes.

    Returns:
        The network on the CPU, in eval mode: images [N, C, H, W] in, logits [N, classes] out; their mean of several.

    Raises:
        FormatError: a file is missing or damaged.
        RecipeError: it is no classifier, or one of other classes.
        ModelError: a network cannot be made, or does not take these images.
    """
    networks = [_load_teacher(Path(folder), data) for folder in folders]
    return (networks[0] if len(networks) == 1 else _Mean(networks)).eval()


def _load_teacher(folder: Path, data: ImageData) -> nn.Module:
    recipe = recipe_of_training(folder)
    if recipe.task != "classify":
        raise RecipeError("a teacher answers with classes", where=folder, got=f"task {recipe.task}", wanted="classify")
    if (folder / "labels.txt").is_file():
        _check_labels(folder / "labels.txt", data)
    model = make_network(recipe, data)
    load_weights(model, folder / "checkpoint.safetensors")
    return model


def _check_labels(path: Path, data: ImageData) -> None:
    """Refuse a teacher whose classes are others, or in another order."""
    from edgeq.artifact import labels_text

    wanted = labels_text(data.classes)
    if path.stat().st_size != len(wanted) or path.read_bytes() != wanted:
        raise RecipeError("the teacher's classes are others, or in another order", where=path,
                          wanted=few(data.classes), remedy="train it on the same classes")  # fmt: skip
