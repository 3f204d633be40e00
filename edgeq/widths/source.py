"""Where a search begins, a network and the images to choose on; and ``edgeq search-bits``, which takes those of a build
and leaves a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.errors import DataError, RecipeError
from edgeq.progress import Progress, Silent
from edgeq.rounding.table import GRID_METHODS
from edgeq.whole_file import write_whole
from edgeq.widths.result import PACKED_BITS, BitSearch, FrontPoint, LayerBits
from edgeq.widths.search import MOST_BITS, State, least_traffic, search

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgeq.data import ImageData
    from edgeq.recipe import Recipe
    from edgeq.widths.trial import Trial, Widths

__all__ = ["Start", "search_build", "start_search"]

CALIBRATION = 256
LEAST_DATA_BITS = 2


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
    from edgeq.models import create_model, load_weights

    if not tolerances or any(not 0 <= value <= 100 for value in tolerances):
        raise RecipeError("out of range", where="--tolerance", got=list(tolerances), wanted="0 to 100 points")
    progress = progress or Silent()
    recipe, images = _load(folder, data, progress)
    model = create_model(
        recipe.model, num_classes=len(images.classes), input_shape=images.input_shape, seed=recipe.seed
    )
    load_weights(model, folder / "checkpoint.safetensors")
    start = start_search(model.eval(), recipe, images, samples=samples, where=str(folder))
    states = start.search(max(tolerances), data_bits=data_bits, budget=budget, progress=progress)
    measured = start.trial.measured
    points = [_point(start.trial, images, states, start.accuracy, value) for value in tolerances]
    found = [point for point in points if point is not None]
    if len(found) < len(points):
        raise start.too_few(min(tolerances), str(folder))
    test = start.trial.score(start.floats, images.test_images, images.test_labels).accuracy
    front = _front([(state.score.accuracy, state.traffic) for state in states])
    result = BitSearch(str(folder), len(start.images), start.accuracy, test, measured, tuple(found), front)
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


@dataclass(frozen=True, slots=True)
class Start:
    """A network that can be measured at any widths, and the images to choose on.

    Attributes:
        trial: the network.
        images: uint8 [N, C, H, W], as the network sees them.
        labels: int64 [N].
        least, most: bits of weights.
    """

    trial: Trial
    images: torch.Tensor
    labels: torch.Tensor
    least: int
    most: int

    @property
    def floats(self) -> Widths:
        """No layer rounded."""
        return ((0, 0),) * len(self.trial.layers)

    @property
    def accuracy(self) -> float:
        """Of the float network, in percent."""
        return self.trial.score(self.floats, self.images, self.labels).accuracy

    def search(self, tolerance: float, *, data_bits: bool, budget: int, progress: Progress) -> list[State]:
        """The states on the way to the fewest bits within so many points; see :func:`edgeq.widths.search.search`.

        Args:
            tolerance: points of accuracy that may be lost.
            data_bits: search those of the data, too; else they stay 8.
            budget: the most measurements.
            progress: shown.
        """
        limit = self.accuracy - tolerance
        with progress.task("measuring widths", budget) as task:
            return search(
                self.trial.layers,
                lambda widths: self.trial.score(widths, self.images, self.labels),
                limit=limit,
                least=(self.least, LEAST_DATA_BITS if data_bits else MOST_BITS),
                most=self.most,
                budget=budget,
                task=task,
                measured=lambda: self.trial.measured,
            )

    def too_few(self, tolerance: float, where: str) -> DataError:
        """The error where not even the most bits hold."""
        widest = ((self.most, MOST_BITS),) * len(self.trial.layers)
        lost = self.accuracy - self.trial.score(widest, self.images, self.labels).accuracy
        return DataError(f"{self.most} bits in every layer lose more than the tolerance", where=where,
                         got=f"{lost:.2f} points", wanted=f"at most {tolerance:g}")  # fmt: skip


def start_search(
    model: nn.Module, recipe: Recipe, data: ImageData, *, samples: int, where: str, names: Sequence[str] | None = None
) -> Start:
    """A network and images to choose on, that it is not calibrated on.

    Args:
        model: float32, on the CPU, in eval mode; measured in place, and put back.
        recipe: of its training.
        data: the images.
        samples: images to choose on: those that the training left out, else training images drawn by the recipe's seed.
        where: the network's place, for errors.
        names: the layers whose bits are searched; None for all that have integer weights.

    Raises:
        DataError: there are too few training images.
        RecipeError: no layer has integer weights to search the bits of.
    """
    import torch

    from edgeq.snap import quantized_layers
    from edgeq.train.batches import split_rows
    from edgeq.widths.trial import Trial

    total = len(data.train_images)
    if total < 2:
        raise DataError("there are too few training images to choose on", where=data.name, got=total, wanted=2)
    generator = torch.Generator().manual_seed(recipe.seed)
    order, left_out = (
        rows[torch.randperm(len(rows), generator=generator)]
        for rows in split_rows(total, recipe.train.validation, recipe.seed)
    )
    if not len(left_out):
        left_out, order = order[: total // 2], order[min(samples, total // 2) :]
    chosen = left_out[:samples]
    if names is None:
        names = [name for name in quantized_layers(model) if recipe.plan.grid_of(name) is not None]
    if not names:
        raise RecipeError("no layer has integer weights", where=where, got=recipe.quantize.mode)
    cosine = recipe.regularizer.function == "cosine"
    trial = Trial(
        model,
        recipe.grid,
        per_channel=recipe.regularizer.scale == "channel",
        calibration=data.as_seen(data.train_images[order[:CALIBRATION]]),
        names=tuple(names),
    )
    images = data.as_seen(data.train_images[chosen])
    return Start(trial, images, data.train_labels[chosen], 1 if cosine else 2, MOST_BITS - 1 if cosine else MOST_BITS)


def _point(
    trial: Trial, images: ImageData, states: Sequence[State], base: float, tolerance: float
) -> FrontPoint | None:
    """The state with the least traffic within a tolerance, tried on the test images."""
    fits = [state for state in states if state.score.accuracy >= base - tolerance]
    if not fits:
        return None
    best = least_traffic(fits)
    layers = tuple(
        LayerBits(layer.name, layer.weights, layer.reads, *pair)
        for layer, pair in zip(trial.layers, best.widths, strict=True)
    )
    as_file = tuple((own, MOST_BITS) for own, _ in best.widths)
    test = images.test_images, images.test_labels
    return FrontPoint(
        tolerance=tolerance,
        accuracy=best.score.accuracy,
        traffic=round(best.traffic, 4),
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
