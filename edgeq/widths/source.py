"""``edgeq search-bits``: a build's network and data, the images to choose on, and the recipe to go on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.errors import DataError, RecipeError
from edgeq.progress import Progress, Silent
from edgeq.whole_file import write_whole
from edgeq.widths.result import PACKED_BITS, BitSearch, FrontPoint, LayerBits
from edgeq.widths.search import MOST_BITS, State, search, traffic

if TYPE_CHECKING:
    import torch

    from edgeq.data import ImageData
    from edgeq.recipe import Recipe
    from edgeq.widths.trial import Trial

__all__ = ["search_build"]

CALIBRATION = 256
GRID_METHODS = ("periodic", "straight-through", "post-training")


def search_build(
    folder: Path,
    *,
    tolerances: Sequence[float] = (1.0,),
    data: str | None = None,
    samples: int = 512,
    data_bits: bool = True,
    budget: int = 400,
    recipe_out: Path | None = None,
    progress: Progress | None = None,
) -> BitSearch:
    """Search the fewest bits by layer of a build's float network.

    Args:
        folder: what ``edgeq build`` or ``edgeq train`` left.
        tolerances: points of accuracy that may be lost on the validation images.
        data: where the data are now; None: where the recipe says.
        samples: images to choose on: those that the training left out (``train.validation``), else training images
            drawn by the recipe's seed.
        data_bits: search those of the data, too; else they stay 8.
        budget: the most measurements.
        recipe_out: a file for the build's recipe with the bits of the first tolerance.
        progress: shown.

    Raises:
        FormatError: a file is missing or damaged.
        RecipeError: a tolerance out of range; the network's weights are not of integers.
        DataError: too few training images; the network loses more than every tolerance at 8 bits.
    """
    if not tolerances or any(not 0 <= value <= 100 for value in tolerances):
        raise RecipeError("out of range", where="--tolerance", got=list(tolerances), wanted="0 to 100 points")
    progress = progress or Silent()
    recipe, images = _load(folder, data, progress)
    trial, chosen, labels = _trial(folder, recipe, images, samples)
    floats = ((0, 0),) * len(trial.layers)
    base = trial.score(floats, chosen, labels)
    least = (1 if recipe.regularizer.function == "cosine" else 2, 2 if data_bits else MOST_BITS)
    most = 7 if recipe.regularizer.function == "cosine" else MOST_BITS
    with progress.task("measuring widths", budget) as task:
        states = search(
            trial.layers,
            lambda widths: trial.score(widths, chosen, labels),
            limit=base.accuracy - max(tolerances),
            least=least,
            most=most,
            budget=budget,
            task=task,
            measured=lambda: trial.measured,
        )
    measured = trial.measured
    points = [_point(trial, images, states, base.accuracy, value) for value in tolerances]
    found = [point for point in points if point is not None]
    if len(found) < len(points):
        lost = base.accuracy - trial.score(((most, MOST_BITS),) * len(trial.layers), chosen, labels).accuracy
        raise DataError(f"{most} bits in every layer lose more than the tolerance", where=folder,
                        got=f"{lost:.2f} points", wanted=f"at most {min(tolerances):g}")  # fmt: skip
    test = trial.score(floats, images.test_images, images.test_labels).accuracy
    front = _front([(state.score.accuracy, state.traffic) for state in states])
    result = BitSearch(str(folder), len(chosen), base.accuracy, test, measured, tuple(found), front)
    if recipe_out is not None:
        _write_recipe(recipe_out, recipe, found[0], folder)
    return result


def _load(folder: Path, data: str | None, progress: Progress) -> tuple[Recipe, ImageData]:
    from edgeq.data import load_data
    from edgeq.recipe import recipe_of_training

    recipe = recipe_of_training(folder)
    if recipe.method not in GRID_METHODS:
        raise RecipeError("its weights are not rounded to a grid of so many bits", where=folder, got=recipe.method,
                          wanted=" or ".join(GRID_METHODS))  # fmt: skip
    images = load_data(
        data or recipe.data.path,
        image_size=recipe.data.image_size,
        crop=recipe.data.crop,
        cache=recipe.data.cache,
        unreadable=recipe.data.unreadable,
        progress=progress,
    )
    return recipe, images


def _trial(folder: Path, recipe: Recipe, images: ImageData, samples: int) -> tuple[Trial, torch.Tensor, torch.Tensor]:
    """The network, and validation images and labels that it is not calibrated on."""
    import torch

    from edgeq.models import create_model, load_weights
    from edgeq.snap import quantized_layers
    from edgeq.train.batches import split_rows
    from edgeq.widths.trial import Trial

    total = len(images.train_images)
    if total < 2:
        raise DataError("there are too few training images to choose on", where=images.name, got=total, wanted=2)
    generator = torch.Generator().manual_seed(recipe.seed)
    order, left_out = (
        rows[torch.randperm(len(rows), generator=generator)]
        for rows in split_rows(total, recipe.train.validation, recipe.seed)
    )
    if not len(left_out):
        left_out, order = order[: total // 2], order[min(samples, total // 2) :]
    chosen = left_out[:samples]
    model = create_model(
        recipe.model, num_classes=len(images.classes), input_shape=images.input_shape, seed=recipe.seed
    )
    load_weights(model, folder / "checkpoint.safetensors")
    model.eval()
    names = tuple(name for name in quantized_layers(model) if recipe.plan.grid_of(name) is not None)
    if not names:
        raise RecipeError("no layer has integer weights", where=folder, got=recipe.quantize.mode)
    trial = Trial(
        model,
        recipe.grid,
        per_channel=recipe.regularizer.scale == "channel",
        calibration=images.train_images[order[:CALIBRATION]],
        names=names,
    )
    return trial, images.train_images[chosen], images.train_labels[chosen]


def _point(
    trial: Trial, images: ImageData, states: Sequence[State], base: float, tolerance: float
) -> FrontPoint | None:
    """The state with the least traffic within a tolerance, tried on the test images."""
    fits = [state for state in states if state.score.accuracy >= base - tolerance]
    if not fits:
        return None
    best = min(fits, key=lambda state: (state.traffic, -state.score.accuracy))
    layers = tuple(
        LayerBits(layer.name, layer.weights, layer.reads, *pair)
        for layer, pair in zip(trial.layers, best.widths, strict=True)
    )
    as_file = tuple((own, MOST_BITS) for own, _ in best.widths)
    test = images.test_images, images.test_labels
    return FrontPoint(
        tolerance=tolerance,
        accuracy=best.score.accuracy,
        traffic=round(traffic(trial.layers, best.widths), 4),
        weight_traffic=round(_mean([(row.weights, row.weight_bits) for row in layers]) / 32, 4),
        data_traffic=round(_mean([(row.reads, row.data_bits) for row in layers]) / 32, 4),
        test_accuracy=trial.score(best.widths, *test).accuracy,
        file_accuracy=trial.score(as_file, *test).accuracy,
        weight_bytes=sum(row.weights for row in layers),
        packed_bytes=sum((row.weights + 1) // 2 if row.weight_bits <= PACKED_BITS else row.weights for row in layers),
        layers=layers,
    )


def _mean(pairs: Sequence[tuple[int, int]]) -> float:
    """Bits a number, of (how many, bits)."""
    return sum(count * bits for count, bits in pairs) / sum(count for count, _ in pairs)


def _front(states: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """(accuracy, traffic) of the states that no other beats in both, the least traffic first."""
    front: list[tuple[float, float]] = []
    for accuracy, amount in sorted(set(states), key=lambda state: (state[1], -state[0])):
        if not front or accuracy > front[-1][0]:
            front.append((accuracy, round(amount, 4)))
    return tuple(front)


def _write_recipe(path: Path, recipe: Recipe, point: FrontPoint, folder: Path) -> None:
    """The build's recipe with these bits; it rounds the same network, without training."""
    from edgeq.modes import LayerChoice
    from edgeq.recipe import recipe_to_toml

    modes = {
        name: LayerChoice(mode=choice if isinstance(choice, str) else getattr(choice, "mode", None))
        for name, choice in recipe.layers.items()
    }
    layers = {name: choice for name, choice in modes.items() if choice.mode is not None}
    layers |= {row.name: LayerChoice(bits=row.weight_bits) for row in point.layers}
    init = str((folder / "checkpoint.safetensors").resolve())
    train = dataclasses.replace(recipe.train, init=init, epochs=0)
    changed = dataclasses.replace(recipe, method="post-training", train=train, layers=layers, compress=())
    write_whole(path, recipe_to_toml(changed).encode())
