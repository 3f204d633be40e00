"""The networks without a grid that the rows of a comparison start from, one a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.manifest import read_manifest
from edgeq.recipe import Recipe, recipe_of_training
from edgeq.sweep import Run

__all__ = ["Start", "float_name"]

SHARE, TEMPERATURE = 0.9, 4.0  # of the loss and of the logits, as distillation into small networks has them


@dataclass(frozen=True, slots=True)
class Start:
    """How they are trained.

    Attributes:
        epochs: of each.
        initial_image_size: side of the images of their first epochs; 0 for whole ones.
        teachers: the folders of finished trainings, whose networks' answers are nine tenths of their loss.
    """

    epochs: int = 100
    initial_image_size: int = 0
    teachers: tuple[str, ...] = ()

    def runs(self, recipe: Recipe, seeds: Sequence[int]) -> list[Run]:
        """Their trainings: ``float-seedN``.

        Args:
            recipe: network and data, and what all trainings have in common.
            seeds: of the repetitions.

        Raises:
            FormatError, RecipeError: as for :meth:`text`.
        """
        self.text()
        train = dataclasses.replace(recipe.train, epochs=self.epochs, initial_image_size=self.initial_image_size)
        if self.teachers:
            train = dataclasses.replace(
                train, teachers=self.teachers, distillation=SHARE, distillation_temperature=TEMPERATURE
            )
        base = dataclasses.replace(recipe, bits=8, method="post-training", train=train)
        return [Run(float_name(seed), dataclasses.replace(base, seed=seed), whole=True) for seed in seeds]

    def text(self) -> str:
        """What is done, for a title.

        Raises:
            FormatError, RecipeError: a teacher's folder is not that of a finished training.
        """
        said = f"{self.epochs} epochs without a grid"
        if self.initial_image_size:
            said += f" (images of {self.initial_image_size} pixels at first)"
        return f"{said}, taught by {' and '.join(map(_told, self.teachers))}" if self.teachers else said


def _told(teacher: str) -> str:
    recipe = recipe_of_training(Path(teacher))
    reached = read_manifest(Path(teacher) / "manifest.json")["accuracy"]["float"]
    return f"{recipe.model} ({recipe.train.epochs} epochs, {reached:.2f} %)"


def float_name(seed: int) -> str:
    """The run of a seed's network without a grid."""
    return f"float-seed{seed}"
