"""The trainings of a recipe in order: the first, then each compression method with its retraining."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.compress.method import Constraint, Context, Method
from edgeq.progress import Progress
from edgeq.recipe import Recipe
from edgeq.rounding.options import RoundingRecipe
from edgeq.workspace import CHECKPOINTS

if TYPE_CHECKING:
    from torch import nn

    from edgeq.data import ImageData
    from edgeq.train import TrainResult

__all__ = ["Step", "plan_steps", "train_and_compress"]

SHARE_OF_RATE = 0.1
BEFORE = "the network of the training before"


@dataclass(frozen=True, slots=True)
class Step:
    """One training.

    Attributes:
        recipe: of this training alone; the periodic term, and the rounding of activations, are in the last one that
            has epochs.
        method: what is applied before it; None for the first training.
        position: of the method in the recipe, which may name one twice.
        round: how often that method was applied before.
        folder: of its checkpoints, inside the build's.
    """

    recipe: Recipe
    method: Method | None = None
    position: int = 0
    round: int = 0
    folder: str = ""


def plan_steps(recipe: Recipe) -> list[Step]:
    """The trainings of a recipe, the first one included."""
    taught = recipe.train.teachers or recipe.train.init
    first = recipe.train if taught else dataclasses.replace(recipe.train, distillation=0.0)
    export = dataclasses.replace(recipe.quantize, packed=False)  # which a training knows nothing of
    training = dataclasses.replace(recipe, compress=(), train=first, quantize=export)
    steps = [Step(training)]
    for position, method in enumerate(recipe.compress):
        for done in range(method.rounds):
            train = dataclasses.replace(
                recipe.train,
                epochs=method.epochs,
                learning_rate=method.learning_rate or SHARE_OF_RATE * recipe.train.learning_rate_for(compressed=True),
                rate_schedule="cosine",
                warmup=None,
                init=BEFORE,
            )
            folder = f"{CHECKPOINTS}/{len(steps)}-{method.name}"
            steps.append(Step(dataclasses.replace(training, train=train), method, position, done, folder))
    last = max((index for index, step in enumerate(steps) if step.recipe.train.epochs), default=0)
    return [
        step if index == last else dataclasses.replace(step, recipe=_without_pull(step.recipe))
        for index, step in enumerate(steps)
    ]


def train_and_compress(
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool,
    progress: Progress,
    teacher: nn.Module | None = None,
) -> tuple[TrainResult, list[dict[str, Any]], Recipe]:
    """Train, then apply each method and train on.

    Args:
        model: changed in place; ends on the CPU, in eval mode.
        data: images.
        recipe: resolved.
        folder: of the build; each later training has a folder of its own in it.
        resume: go on where an interrupted build stopped: trainings that are finished are not run again, methods are
            applied again to the same weights.
        progress: told of each.
        teacher: what distillation follows; None for the network before the first method.

    Returns:
        The result of the last training, an entry for the manifest for each application of a method, and the recipe with
        the bits of layers that a method has found.

    Raises:
        EdgeqError: as :func:`edgeq.train.train` and the methods do.
    """
    from edgeq.train import CHECKPOINT, train

    steps = plan_steps(recipe)
    first = next((step for step in steps if step.recipe.train.epochs), steps[0])  # the first to leave a checkpoint
    constraints: dict[int, Constraint] = {}  # by the method's position: a further round's is instead of the one before
    entries: list[dict[str, Any]] = []
    result: TrainResult | None = None
    made_with: list[str] = []
    memory: dict[str, Any] = {}
    bits: dict[str, int] = {}
    for step in steps:
        if step.method is not None and step.recipe.train.distillation and teacher is None:
            teacher = copy.deepcopy(model)
        where = folder / step.folder
        if step.method is not None:
            began = time.perf_counter()
            progress.note(f"{step.method.name}{_round(step)}")
            memory = memory if step.round else {}
            context = Context(data, recipe, progress, step.round, memory)
            found = step.method.apply(model, context)
            model.eval()
            constraints.pop(step.position, None)
            if found is not None:
                constraints[step.position] = found
                bits |= found.bits
            made_with.append(json.dumps(step.method.to_table(), sort_keys=True))
            entries.append(_entry(step, model, data, time.perf_counter() - began))
            if found is not None and found.bits:
                entries[-1]["layer_bits"] = dict(found.bits)
        if step.recipe.train.epochs or result is None:
            goes_on = resume and (step is first or (where / CHECKPOINT).is_file())
            result = train(
                model, data, step.recipe.with_layer_bits(bits), where, resume=goes_on, progress=progress,
                constraints=tuple(constraints.values()), made_with=made_with, teacher=teacher,
            )  # fmt: skip
            if entries and result.history:
                entries[-1]["test_accuracy"] = result.history[-1].test_accuracy
        else:  # what it held is of the network before the method
            result = dataclasses.replace(result, scales={}, activations=None)
        for constraint in constraints.values():
            constraint.project()
    assert result is not None
    return result, entries, recipe.with_layer_bits(bits)


def _without_pull(recipe: Recipe) -> Recipe:
    train = dataclasses.replace(recipe.train, activations="float")
    rounding = RoundingRecipe(ends=recipe.rounding.ends)
    return dataclasses.replace(recipe, method="post-training", rounding=rounding, train=train)


def _entry(step: Step, model: nn.Module, data: ImageData, seconds: float) -> dict[str, Any]:
    from edgeq.compress.count import count_model

    assert step.method is not None
    options = json.loads(json.dumps(step.method.to_table()))
    return {
        **options,
        "round": step.round,
        **count_model(model, data.input_shape),
        **step.method.facts(model),
        "seconds": round(seconds, 3),
    }


def _round(step: Step) -> str:
    assert step.method is not None
    return f", round {step.round + 1} of {step.method.rounds}" if step.method.rounds > 1 else ""
