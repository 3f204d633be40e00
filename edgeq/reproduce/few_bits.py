"""One and two bits by every method of the literature and by the periodic term, at equal epochs and seeds.

For each seed a network is trained without a grid; from its weights, once more for each method, over the same epochs.
Each method has the scaling of its paper and leaves first and last layers as that does; the periodic term is there both
ways. Accuracies are through the TFLite file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.display.summary import Result, Summary, table
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, RoundingRecipe, TrainRecipe
from edgeq.reproduce.comparison import FLOAT_BITS, ComparisonRow
from edgeq.reproduce.methods import make_row
from edgeq.reproduce.seeds import mean_text, nulls
from edgeq.rounding.table import METHODS
from edgeq.sweep import Run, run_sweep

__all__ = ["ROWS", "FewBits", "Row", "compare_few_bits", "few_bit_runs"]

PULL: Final = {"optimizer": "sgd", "learning_rate": 0.01}
ADAM: Final = {"optimizer": "adamw", "learning_rate": 0.003}


@dataclass(frozen=True, slots=True)
class Row:
    """One method of the comparison.

    Attributes:
        name: of its row.
        bits: bits a weight, as the table says it.
        recipe: keys of the recipe that differ.
        train: keys of its ``[train]`` that differ: the optimizer that suits the method.
    """

    name: str
    bits: int
    recipe: dict[str, Any]
    train: dict[str, Any] = field(default_factory=lambda: dict(ADAM))

    @property
    def key(self) -> str:
        """What its runs are called, before ``-seedN``."""
        return f"few-{self.name.replace(', ', '-').replace(' ', '-')}-{self.bits}bit"


@dataclass(frozen=True, slots=True)
class FewBits(Result):
    """All methods at one and two bits.

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
        rows = [[row.method, str(row.bits), mean_text(row.before)] for row in self.rows]
        for cells, row in zip(rows, self.rows, strict=True):
            shown = [mean_text(row.tflite), mean_text(row.distance, 4), mean_text(row.tflite_bytes, 0)]
            cells += ["", "", ""] if row.is_float else shown
        columns = ["method", "bits", "PyTorch, %", "TFLite, %", "distance", "bytes"]
        title = f"{self.epochs} epochs, then {self.fine_tuning_epochs} for each row; mean of {len(self.seeds)} seed(s)"
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        return (table(title, columns, rows, right={1, 2, 3, 4, 5}), *failed)

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; those of failed runs are null."""
        result = dataclasses.asdict(self)
        for row in result["rows"]:
            for key in ("before", "snapped", "tflite", "distance"):
                row[key] = nulls(row[key])
        return result


def _periodic(bits: int, ends: int) -> Row:
    term = RegularizerRecipe(function="cosine" if bits == 1 else "sine", form="latent", pull=1.0)
    recipe = {"method": "periodic", "bits": bits, "regularizer": term, "rounding": RoundingRecipe(ends=ends)}
    return Row("periodic, 8-bit ends" if ends else "periodic", bits, recipe, dict(PULL))


def _published(name: str) -> Row:
    row = METHODS[name]
    bits = 2 if row.function == "sine" else 1  # three values, or two
    reads = {"sign": ", layers read signs", "levels": f", layers read {row.activation_bits[0]} bits"}
    label = name + reads.get(row.activations, "") + (", 8-bit ends" if row.ends else "")
    return Row(label, bits, {"method": name, "bits": row.bits[0]})


STOCHASTIC: Final = Row(
    "binary-connect, stochastic",
    1,
    {"method": "binary-connect", "bits": 1, "rounding": RoundingRecipe(stochastic=True)},
)
ROWS: Final = (
    _periodic(1, 0),
    _periodic(1, 8),
    *(row for name in METHODS if (row := _published(name)).bits == 1),
    STOCHASTIC,
    _periodic(2, 0),
    _periodic(2, 8),
    *(row for name in METHODS if (row := _published(name)).bits == 2),
)


def few_bit_runs(recipe: Recipe, epochs: int, fine_tuning_epochs: int, seeds: Sequence[int]) -> list[Run]:
    """For each seed the network without a grid, and what starts from it.

    Args:
        recipe: network, data, and how the network without a grid is trained.
        epochs: of that.
        fine_tuning_epochs: of each training after it.
        seeds: of the repetitions.
    """
    runs = []
    for seed in seeds:
        base = dataclasses.replace(recipe, seed=seed, bits=8, method="post-training")
        train = dataclasses.replace(recipe.train, epochs=epochs)
        start = Run(f"float-seed{seed}", dataclasses.replace(base, train=train), whole=True)
        runs.append(start)
        for row in ROWS:
            train = dataclasses.replace(recipe.train, epochs=fine_tuning_epochs, rate_schedule="cosine", **row.train)
            choice = dataclasses.replace(base, train=train, **row.recipe)
            runs.append(Run(f"{row.key}-seed{seed}", choice, whole=True, after=start.name))
    return runs


def compare_few_bits(
    data: str | Path = "digits",
    out: str | Path = "out/few-bits",
    *,
    model: str = "resnet20",
    epochs: int = 100,
    fine_tuning_epochs: int = 8,
    batch_size: int = 128,
    cutout: int = 0,
    seeds: Sequence[int] = (0, 1),
    jobs: int = 1,
    ray: str = "",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    progress: ProgressLike = None,
) -> FewBits:
    """Build what is not built yet, and compare: ``edgeq reproduce few-bits``.

    Args:
        data: as for :func:`edgeq.build`.
        out: the folder of the runs; a second call goes on there.
        model: the network.
        epochs: of the training without a grid.
        fine_tuning_epochs: of each training after it.
        batch_size, cutout: of all trainings.
        seeds: of the repetitions.
        jobs: builds at a time.
        ray: the address of a Ray cluster to run them on; empty for this machine.
        device: what trains.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep.
    """
    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=train)
    with resolve_progress(progress) as shown:
        runs = few_bit_runs(recipe, epochs, fine_tuning_epochs, seeds)
        sweep = run_sweep(runs, Path(out), jobs=jobs, ray=ray, progress=shown)
    rows = [make_row(sweep, "float", FLOAT_BITS, "float", seeds)]
    rows += [make_row(sweep, row.name, row.bits, row.key, seeds) for row in ROWS]
    return FewBits(epochs, fine_tuning_epochs, tuple(seeds), tuple(rows), dict(sweep.failures))
