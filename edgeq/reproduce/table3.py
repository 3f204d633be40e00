"""Table 3 of the paper: ResNet-50 on ImageNet at 8 bits, by function and amplitude; top-1 and top-5.

The amplitude is the dynamic one, which rises 1024-fold up to the value printed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.display.summary import Result, Summary, table
from edgeq.grid import Function
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.reproduce.protocol import BATCH_SIZE, paper_runs
from edgeq.reproduce.seeds import accuracy, figures, mean_text, nulls
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["CELLS", "PAPER_TOP1", "PAPER_TOP5", "Cell", "Table3", "Table3Row", "reproduce_table3", "table3_runs"]

PAPER_TOP1: Final = 75.84
PAPER_TOP5: Final = 92.90
BITS: Final = 8
EPOCHS: Final = 90


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the table.

    Attributes:
        function, amplitude: of the term in the loss, at 8 bits.
        top1, top5: what the paper prints, in percent.
    """

    function: Function
    amplitude: float
    top1: float
    top5: float

    @property
    def name(self) -> str:
        return f"{self.function}-{self.amplitude:g}"


CELLS: Final = (
    Cell("sine", 0.1, 1.29, 4.62),
    Cell("sine", 0.01, 69.02, 89.27),
    Cell("sine", 0.001, 75.77, 92.54),
    Cell("hat", 0.001, 75.57, 92.58),
)


@dataclass(frozen=True, slots=True)
class Table3Row:
    """A column trained again.

    Attributes:
        cell: which; None for the network without the term.
        paper_top1, paper_top5: what the paper prints, in percent.
        top1, top5: after the snap (of the network without the term: as it is), in percent, a seed each; NaN where the
            training failed, and of top-5 where there are five classes or fewer.
    """

    cell: Cell | None
    paper_top1: float
    paper_top5: float
    top1: tuple[float, ...]
    top5: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Table3(Result):
    """The table with the paper's figures beside.

    Attributes:
        model, epochs, seeds: of the runs.
        rows: the network without the term first.
        failures: what a diverged run said, by its name.
    """

    model: str
    epochs: int
    seeds: tuple[int, ...]
    rows: tuple[Table3Row, ...]
    failures: dict[str, str]

    def summary(self) -> Summary:
        rows = []
        for row in self.rows:
            name = "default" if row.cell is None else f"{row.cell.function}, a = {row.cell.amplitude:g}"
            top5 = "" if any(map(math.isnan, row.top5)) else mean_text(row.top5)
            rows.append([name, f"{row.paper_top1:.2f}", mean_text(row.top1), f"{row.paper_top5:.2f}", top5])
        columns = ["8 bits", "paper, top-1 %", "here", "paper, top-5 %", "here"]
        title = f"Table 3: {self.model}, after the snap, {self.epochs} epochs, mean of {len(self.seeds)} seed(s)"
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        return (table(title, columns, rows, right={1, 2, 3, 4}), *failed)

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; what is not known is null."""
        result = dataclasses.asdict(self)
        for row, found in zip(result["rows"], self.rows, strict=True):
            row["top1"], row["top5"] = nulls(found.top1), nulls(found.top5)
        return result


def table3_runs(recipe: Recipe, epochs: int, seeds: Sequence[int]) -> list[Run]:
    """A run without the term and one a column, for each seed.

    Args:
        recipe: network, data and device.
        epochs: of each run; the paper has 90.
        seeds: of the repetitions.
    """
    cells = {cell.name: (BITS, RegularizerRecipe(function=cell.function, schedule="dynamic", amplitude=cell.amplitude))
             for cell in CELLS}  # fmt: skip
    return paper_runs(recipe, epochs, seeds, cells, of=EPOCHS)


def reproduce_table3(
    data: str | Path,
    out: str | Path = "out/table3",
    *,
    model: str = "resnet50",
    image_size: int = 224,
    cache: str | Path = "",
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    ray: str = "",
    progress: ProgressLike = None,
) -> Table3:
    """Train what is not trained yet, and make the table: ``edgeq reproduce table3``.

    Args:
        data: a folder of ImageNet's shape, ``train/<class>/*`` and ``test/<class>/*``.
        out: the folder of the runs; a second call goes on there.
        model: the network.
        image_size: side in pixels.
        cache: where images are decoded to that memory cannot hold: 150,528 bytes each at 224, 201 GB for ImageNet.
        epochs, batch_size, seeds: of the runs.
        jobs: trainings at a time.
        device: what trains.
        ray: the address of a Ray cluster to run them on; empty for this machine.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep.
    """
    train = TrainRecipe(device=device, batch_size=batch_size)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data), image_size=image_size, cache=str(cache)), train=train)
    with resolve_progress(progress) as shown:
        sweep = run_sweep(table3_runs(recipe, epochs, seeds), Path(out), jobs=jobs, ray=ray, progress=shown)
    return make_table3(sweep, model, epochs, tuple(seeds))


def make_table3(sweep: Sweep, model: str, epochs: int, seeds: tuple[int, ...]) -> Table3:
    """The table of a sweep that has run."""

    def top(name: str, stage: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return figures(sweep, name, seeds, accuracy(stage)), figures(sweep, name, seeds, lambda m: _top5(m, stage))

    rows = [Table3Row(None, PAPER_TOP1, PAPER_TOP5, *top("default", "float"))]
    rows += [Table3Row(cell, cell.top1, cell.top5, *top(cell.name, "snapped")) for cell in CELLS]
    return Table3(model, epochs, seeds, tuple(rows), dict(sweep.failures))


def _top5(manifest: Mapping[str, Any], stage: str) -> float:
    return float(manifest["accuracy"].get("top5", {}).get(stage, math.nan))
