"""What the paper does not have: 8, 4 and 2 bits by every method, at equal epochs and seeds, through the TFLite file.

For each seed a network is trained without a grid; then, from its weights, once more for each method and number of bits,
over the same few epochs: towards the grid by a pull, straight-through with a learned step, and plainly, to
be rounded afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.display.summary import Result, Summary, table
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.reproduce.seeds import accuracy, distance, figures, mean_text, nulls
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["Comparison", "ComparisonRow", "compare_methods", "make_comparison", "method_runs"]

METHODS: Final = ("periodic", "straight-through", "post-training")
BITS: Final = (8, 4, 2)
FLOAT_BITS: Final = 32
FINE_TUNING_RATE: Final = 0.02
LATENT_BITS: Final = 4

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
class Comparison(Result):
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

    def summary(self) -> Summary:
        rows = []
        for row in self.rows:
            cells = [row.method, str(row.bits), mean_text(row.before)]
            if row.bits < FLOAT_BITS:
                cells += [mean_text(row.snapped), mean_text(row.tflite), mean_text(row.distance, 4)]
                cells.append(mean_text(row.tflite_bytes, 0))
            rows.append(cells + [""] * (7 - len(cells)))
        columns = ["method", "bits", "before the snap, %", "snapped, %", "TFLite, %", "distance", "bytes"]
        tuned, seeds = self.fine_tuning_epochs, len(self.seeds)
        title = f"{self.epochs} epochs, then {tuned} for each row; mean of {seeds} seed(s)"
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        return (table(title, columns, rows, right={1, 2, 3, 4, 5, 6}), *failed)

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; those of failed runs are null."""
        result = dataclasses.asdict(self)
        for row in result["rows"]:
            for key in ("before", "snapped", "tflite", "distance"):
                row[key] = nulls(row[key])
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
                form: Literal["decoupled", "latent"] = "latent" if width <= LATENT_BITS else "decoupled"
                pull = RegularizerRecipe(form=form, pull=1.0)
                choice = dataclasses.replace(base, bits=width, method=method, train=tuning, regularizer=pull)
                runs.append(Run(f"{method}-{width}bit-seed{seed}", choice, whole=True, after=start.name))
    return runs


def compare_methods(
    data: str | Path = "digits",
    out: str | Path = "out/methods",
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
    progress: ProgressLike = None,
) -> Comparison:
    """Build what is not built yet, and compare: ``edgeq reproduce methods``.

    Args:
        data: as for :func:`edgeq.build`.
        out: the folder of the runs; a second call goes on there.
        model: the network.
        epochs: of the training without a grid.
        fine_tuning_epochs: of each training after it.
        batch_size, cutout: of all trainings.
        seeds: of the repetitions.
        bits: to compare at.
        jobs: builds at a time.
        device: what trains.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep.
    """
    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=train)
    runs = method_runs(recipe, epochs, fine_tuning_epochs, seeds, bits)
    with resolve_progress(progress) as shown:
        sweep = run_sweep(runs, Path(out), jobs=jobs, progress=shown)
    return make_comparison(sweep, epochs, fine_tuning_epochs, tuple(seeds), tuple(bits))


def make_comparison(sweep: Sweep, epochs: int, tuned: int, seeds: tuple[int, ...], bits: tuple[int, ...]) -> Comparison:
    """The comparison of a sweep that has run."""
    rows = [_row(sweep, "float", FLOAT_BITS, "float", seeds)]
    rows += [_row(sweep, method, width, f"{method}-{width}bit", seeds) for width in bits for method in METHODS]
    return Comparison(epochs, tuned, seeds, tuple(rows), dict(sweep.failures))


def _row(sweep: Sweep, method: str, bits: int, name: str, seeds: Sequence[int]) -> ComparisonRow:
    before, snapped, tflite, distances = (
        figures(sweep, name, seeds, figure)
        for figure in (accuracy("float"), accuracy("snapped"), accuracy("tflite"), distance)
    )
    manifests = [sweep.manifests[key] for seed in seeds if (key := f"{name}-seed{seed}") in sweep.manifests]
    sizes = [item["bytes"] for found in manifests for item in found["artifacts"] if item["path"] == "model.tflite"]
    return ComparisonRow(method, bits, before, snapped, tflite, distances, tuple(sizes))
