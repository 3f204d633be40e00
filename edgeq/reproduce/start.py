"""The networks without a grid that the rows of a comparison start from, one a seed, and their teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgeq.recipe import Recipe
from edgeq.sweep import Run, Sweep
from edgeq.train_recipe import TrainRecipe

__all__ = ["Start", "float_name"]

TEACHER: Final = "teacher"
SHARE, TEMPERATURE = 0.9, 4.0  # of the loss and of the logits, as distillation into small networks has them


@dataclass(frozen=True, slots=True)
class Start:
    """How they are trained.

    Attributes:
        epochs: of each.
        initial_image_size: side of the images of their first epochs, the teacher's too; 0 for whole ones.
        teacher: the network whose answers are nine tenths of their loss, trained before them; empty for none.
        teacher_epochs: of that.
    """

    epochs: int = 100
    initial_image_size: int = 0
    teacher: str = ""
    teacher_epochs: int = 40

    def runs(self, recipe: Recipe, seeds: Sequence[int]) -> list[Run]:
        """The teacher's training where there is one, then those without a grid: ``float-seedN``.

        Args:
            recipe: network and data, and what all trainings have in common.
            seeds: of the repetitions; the teacher has the first.
        """
        base = dataclasses.replace(recipe, bits=8, method="post-training")
        train = dataclasses.replace(recipe.train, epochs=self.epochs, initial_image_size=self.initial_image_size)
        if not self.teacher:
            return [_float(base, train, seed) for seed in seeds]
        teaching = dataclasses.replace(train, epochs=self.teacher_epochs)
        teacher = dataclasses.replace(base, seed=seeds[0], model=self.teacher, train=teaching)
        by = {"teacher": TEACHER, "distillation": SHARE, "distillation_temperature": TEMPERATURE}
        taught = dataclasses.replace(train, **by)  # type: ignore[arg-type]
        return [Run(TEACHER, teacher), *(_float(base, taught, seed, teacher=TEACHER) for seed in seeds)]

    def text(self, sweep: Sweep) -> str:
        """What was done, for a title."""
        said = f"{self.epochs} epochs without a grid"
        if self.initial_image_size:
            said += f" (images of {self.initial_image_size} pixels at first)"
        if not self.teacher:
            return said
        found = sweep.manifests.get(TEACHER, {}).get("accuracy", {}).get("float")
        reached = "" if found is None else f", {found:.2f} %"
        return f"{said}, taught by {self.teacher} ({self.teacher_epochs} epochs{reached})"


def float_name(seed: int) -> str:
    """The run of a seed's network without a grid."""
    return f"float-seed{seed}"


def _float(base: Recipe, train: TrainRecipe, seed: int, *, teacher: str = "") -> Run:
    return Run(float_name(seed), dataclasses.replace(base, seed=seed, train=train), whole=True, teacher=teacher)
