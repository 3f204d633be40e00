"""Table 2 of the paper: ResNet-20 on CIFAR-10 from scratch, by amplitude, schedule and bits; the term is in the loss.

The paper's tables say "test error" and print accuracies. Its epochs between raises are not printed: the dynamic
amplitude rises 1024-fold, at equal intervals, up to the value printed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.display.summary import Result, Summary, table
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.reproduce.protocol import BATCH_SIZE, paper_runs
from edgeq.reproduce.seeds import accuracy, distance, figures, mean_text, nulls
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["PAPER_DEFAULT", "SETTINGS", "Setting", "Table2", "Table2Row", "reproduce_table2", "table2_runs"]

EPOCHS: Final = 100
CHANCE_MARGIN: Final = 15.0  # points above guessing that count as collapsed
PAPER_DEFAULT: Final = 84.72


@dataclass(frozen=True, slots=True)
class Setting:
    """A cell of the table.

    Attributes:
        schedule, bits, amplitude: of the sine in the loss.
        paper: the accuracy it prints, in percent.
    """

    schedule: Literal["fixed", "dynamic"]
    bits: int
    amplitude: float
    paper: float

    @property
    def name(self) -> str:
        return f"{self.schedule}-{self.bits}bit-{self.amplitude:g}"


SETTINGS: Final = (
    Setting("fixed", 8, 0.1, 29.26),
    Setting("fixed", 8, 0.01, 58.18),
    Setting("fixed", 8, 0.001, 79.18),
    Setting("dynamic", 8, 0.1, 53.28),
    Setting("dynamic", 8, 0.01, 74.14),
    Setting("dynamic", 8, 0.001, 87.46),
    Setting("dynamic", 4, 0.001, 16.66),
    Setting("dynamic", 2, 0.001, 10.20),
)


@dataclass(frozen=True, slots=True)
class Table2Row:
    """A cell trained again.

    Attributes:
        setting: which; None for the network without the term.
        paper: what the paper prints, in percent.
        unrounded: accuracy of the trained network before the snap, in percent, a seed each; NaN where it diverged.
        snapped: after it; of the network without the term none.
        distance: mean distance to the grid before the snap, in steps, a seed each.
    """

    setting: Setting | None
    paper: float
    unrounded: tuple[float, ...]
    snapped: tuple[float, ...]
    distance: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds of the snapped network, or of that without the term; a diverged one counts as 0."""
        values = [0.0 if math.isnan(value) else value for value in (self.snapped or self.unrounded)]
        return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class Table2(Result):
    """The table with the paper's figures beside.

    Attributes:
        epochs, seeds: of the runs.
        rows: the network without the term first, then the cells.
        failures: what a diverged run said, by its name.
    """

    epochs: int
    seeds: tuple[int, ...]
    rows: tuple[Table2Row, ...]
    failures: dict[str, str]

    @property
    def shape(self) -> dict[str, bool]:
        """Whether the runs show what the paper's do."""
        mean = {row.setting.name: row.mean for row in self.rows if row.setting is not None}
        by = {(s.schedule, s.bits, s.amplitude): mean[s.name] for s in SETTINGS}
        amplitudes = (0.1, 0.01, 0.001)
        rising = [
            by[schedule, 8, high] < by[schedule, 8, low]
            for schedule in ("fixed", "dynamic")
            for high, low in itertools.pairwise(amplitudes)
        ]
        return {
            "accuracy_rises_as_the_amplitude_falls": all(rising),
            "dynamic_beats_fixed": all(by["dynamic", 8, a] > by["fixed", 8, a] for a in amplitudes),
            "4_and_2_bits_collapse": all(by["dynamic", bits, 0.001] < 10 + CHANCE_MARGIN for bits in (4, 2)),
        }

    def summary(self) -> Summary:
        rows = []
        for row in self.rows:
            setting = row.setting
            cells = (
                ["default", "", ""]
                if setting is None
                else [setting.schedule, str(setting.bits), f"{setting.amplitude:g}"]
            )
            here, before = f"{row.mean:.2f}", mean_text(row.unrounded)
            rows.append([*cells, f"{row.paper:.2f}", here, before, mean_text(row.distance, 3)])
        columns = ["amplitude is", "bits", "a", "paper, %", "here, %", "before the snap, %", "distance"]
        title = f"Table 2: accuracy after the snap, {self.epochs} epochs, mean of {len(self.seeds)} seed(s)"
        claims = [f"{'yes' if shown else 'no '}  {claim.replace('_', ' ')}" for claim, shown in self.shape.items()]
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        return (table(title, columns, rows, right={1, 2, 3, 4, 5, 6}), *claims, *failed)

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; a diverged run's are null."""
        rows = [
            {
                **({"schedule": None} if row.setting is None else dataclasses.asdict(row.setting)),
                "paper": row.paper,
                "unrounded": nulls(row.unrounded),
                "snapped": nulls(row.snapped),
                "distance": nulls(row.distance),
                "mean": row.mean,
            }
            for row in self.rows
        ]
        return {
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "rows": rows,
            "shape": self.shape,
            "failures": self.failures,
        }


def table2_runs(recipe: Recipe, epochs: int, seeds: Sequence[int]) -> list[Run]:
    """A run without the term and one a cell, for each seed.

    Args:
        recipe: network, data and device.
        epochs: of each run; the paper has 100.
        seeds: of the repetitions.
    """
    cells = {cell.name: (cell.bits, RegularizerRecipe(schedule=cell.schedule, amplitude=cell.amplitude))
             for cell in SETTINGS}  # fmt: skip
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=BATCH_SIZE))
    return paper_runs(recipe, epochs, seeds, cells, of=EPOCHS)


def reproduce_table2(
    data: str | Path,
    out: str | Path = "out/table2",
    *,
    model: str = "resnet20",
    epochs: int = EPOCHS,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    ray: str = "",
    progress: ProgressLike = None,
) -> Table2:
    """Train what is not trained yet, and make the table: ``edgeq reproduce table2``.

    Args:
        data: CIFAR-10, as for :func:`edgeq.build`.
        out: the folder of the runs; a second call goes on there.
        model: the network.
        epochs: of each run; the paper has 100.
        seeds: of the repetitions.
        jobs: trainings at a time.
        device: what trains.
        ray: the address of a Ray cluster to run them on; empty for this machine.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep.
    """
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=TrainRecipe(device=device))
    with resolve_progress(progress) as shown:
        sweep = run_sweep(table2_runs(recipe, epochs, seeds), Path(out), jobs=jobs, ray=ray, progress=shown)
    return make_table2(sweep, epochs, tuple(seeds))


def make_table2(sweep: Sweep, epochs: int, seeds: tuple[int, ...]) -> Table2:
    """The table of a sweep that has run."""
    rows = [Table2Row(None, PAPER_DEFAULT, figures(sweep, "default", seeds, accuracy("float")), (), ())]
    for setting in SETTINGS:
        unrounded, snapped, distances = (
            figures(sweep, setting.name, seeds, figure) for figure in (accuracy("float"), accuracy("snapped"), distance)
        )
        rows.append(Table2Row(setting, setting.paper, unrounded, snapped, distances))
    return Table2(epochs, seeds, tuple(rows), dict(sweep.failures))
