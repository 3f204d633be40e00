"""What the paper does not have: 8, 4 and 2 bits by every method, at equal epochs and seeds, through the TFLite file.

For each seed a network is trained without a grid; then, from its weights, once more for each method and number of bits,
over the same few epochs: towards the grid by the decoupled pull, straight-through with a learned step, and plainly, to
be rounded afterwards.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.manifest import mean_distance
from edgeq.progress import Progress
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["Comparison", "ComparisonRow", "compare_methods", "make_comparison", "method_runs"]

METHODS: Final = ("periodic", "straight-through", "post-training")
BITS: Final = (8, 4, 2)
FINE_TUNING_RATE: Final = 0.02

Method = Literal["periodic", "straight-through", "post-training"]


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A method at so many bits.

    Attributes:
        method, bits: which; the network without a grid is ``float`` at 32.
        before: accuracy of the trained network before the snap, in percent, a seed each; NaN where a run failed.
        snapped: after it.
        tflite: through the file.
        distance: mean distance to the grid before the snap, in steps.
        tflite_bytes: of the file.
    """

    method: str
    bits: int
    before: tuple[float, ...]
    snapped: tuple[float, ...]
    tflite: tuple[float, ...]
    distance: tuple[float, ...]
    tflite_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All methods at all bits.

    Attributes:
        epochs: of the training from scratch.
        fine_tuning_epochs: of each training after it.
        seeds: of the repetitions.
        rows: the network without a grid first.
        failures: the last line of a failed run, by its name.
    """

    epochs: int
    fine_tuning_epochs: int
    seeds: tuple[int, ...]
    rows: tuple[ComparisonRow, ...]
    failures: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; figures of failed runs are null."""
        result = dataclasses.asdict(self)
        for row in result["rows"]:
            for key in ("before", "snapped", "tflite", "distance"):
                row[key] = [None if math.isnan(value) else value for value in row[key]]
        return result


def method_runs(
    recipe: Recipe, epochs: int, fine_tuning_epochs: int, seeds: Sequence[int], bits: Sequence[int] = BITS
) -> list[Run]:
    """For each seed the network without a grid, and what starts from it.

    Args:
        recipe: network, data, and how the network without a grid is trained.
        epochs: of that.
        fine_tuning_epochs: of each training after it.
        seeds: of the repetitions.
        bits: to compare at.
    """
    runs = []
    tuning = dataclasses.replace(
        recipe.train,
        epochs=fine_tuning_epochs,
        learning_rate=FINE_TUNING_RATE,
        rate_schedule="cosine",
    )
    pull = RegularizerRecipe(form="decoupled", pull=1.0)
    for seed in seeds:
        base = dataclasses.replace(recipe, seed=seed, bits=8, method="post-training")
        start = Run(
            f"float-seed{seed}",
            dataclasses.replace(base, train=dataclasses.replace(recipe.train, epochs=epochs)),
            whole=True,
        )
        runs.append(start)
        for width in bits:
            for method in METHODS:
                choice = dataclasses.replace(base, bits=width, method=method, train=tuning, regularizer=pull)
                runs.append(Run(f"{method}-{width}bit-seed{seed}", choice, whole=True, after=start.name))
    return runs


def compare_methods(
    data: str,
    out: Path,
    *,
    model: str = "resnet20",
    epochs: int = 100,
    fine_tuning_epochs: int = 8,
    batch_size: int = 128,
    cutout: int = 0,
    seeds: Sequence[int] = (0, 1),
    bits: Sequence[int] = BITS,
    jobs: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: Progress | None = None,
) -> Comparison:
    """Build what is not built yet, and compare.

    Args:
        data: as for ``edgeq build``.
        out: the sweep's folder; a second call goes on there.
        model: the network.
        epochs, fine_tuning_epochs, seeds, bits: as for :func:`method_runs`.
        batch_size, cutout: of all trainings.
        jobs: builds at a time.
        device: what trains.
        progress: shown.

    Raises:
        RecipeError: the folder is of another sweep.
    """
    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=data), train=train)
    runs = method_runs(recipe, epochs, fine_tuning_epochs, seeds, bits)
    sweep = run_sweep(runs, out, jobs=jobs, progress=progress)
    return make_comparison(sweep, epochs, fine_tuning_epochs, tuple(seeds), tuple(bits))


def make_comparison(sweep: Sweep, epochs: int, tuned: int, seeds: tuple[int, ...], bits: tuple[int, ...]) -> Comparison:
    rows = [_row(sweep, "float", 32, "float", seeds)]
    rows += [_row(sweep, method, width, f"{method}-{width}bit", seeds) for width in bits for method in METHODS]
    return Comparison(epochs, tuned, seeds, tuple(rows), dict(sweep.failures))


def _row(sweep: Sweep, method: str, bits: int, name: str, seeds: Sequence[int]) -> ComparisonRow:
    manifests = [sweep.manifests.get(f"{name}-seed{seed}") for seed in seeds]

    def accuracy(key: str) -> tuple[float, ...]:
        return tuple(math.nan if found is None else float(found["accuracy"][key]) for found in manifests)

    return ComparisonRow(
        method,
        bits,
        accuracy("float"),
        accuracy("snapped"),
        accuracy("tflite"),
        tuple(math.nan if found is None else mean_distance(found["layers"]) for found in manifests),
        tuple(
            next(int(item["bytes"]) for item in found["artifacts"] if item["path"] == "model.tflite")
            for found in manifests
            if found is not None
        ),
    )
