"""Figures 1 to 7 of the paper drawn again as SVG: 1 to 3 from the functions, 4 to 7 from runs that are finished.

A figure whose runs are missing is left out, and it is said why. The paper's own values, where it prints them in its
tables, stand beside ours as outlines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeq.display.summary import Result, Summary
from edgeq.grid import Function
from edgeq.manifest import read_manifest
from edgeq.report.svg import BLUE, GREY, ORANGE, bar, drawing, path, text
from edgeq.reproduce.table2 import PAPER_DEFAULT, SETTINGS, Setting
from edgeq.reproduce.table3 import CELLS, PAPER_TOP1
from edgeq.whole_file import write_whole

__all__ = ["BarGroup", "Figures", "draw_accuracies", "draw_function", "reproduce_figures"]

FUNCTION_FIGURES: Final[tuple[tuple[int, Function, tuple[int, int]], ...]] = (
    (1, "sine", (1, 7)),
    (2, "cosine", (1, 8)),
    (3, "hat", (1, 7)),
)
POINTS: Final = 1121  # every point and peak at frequencies 1, 7 and 8 is among them
DYNAMIC_AMPLITUDE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Figures(Result):
    """What was drawn.

    Attributes:
        files: by the figure's number, the file.
        left_out: by the figure's number, why it was not drawn.
    """

    files: dict[int, Path]
    left_out: dict[int, str]

    def summary(self) -> Summary:
        drawn = [f"figure {number}: {file}" for number, file in self.files.items()]
        return (*drawn, *(f"figure {number}: left out, {why}" for number, why in self.left_out.items()))

    def to_dict(self) -> dict[str, Any]:
        """Files and reasons by the figure's number."""
        files = {str(number): str(file) for number, file in self.files.items()}
        return {"files": files, "left_out": {str(number): why for number, why in self.left_out.items()}}


@dataclass(frozen=True, slots=True)
class Bar:
    """One accuracy in percent: ours (None where there is no finished run) and the paper's (None where not printed)."""

    name: str
    here: float | None
    paper: float | None = None


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars over one label of the x axis."""

    label: str
    bars: tuple[Bar, ...]


def reproduce_figures(
    out: str | Path = "out/figures", *, table2: str | Path | None = None, table3: str | Path | None = None
) -> Figures:
    """Draw what can be drawn: ``edgeq reproduce figures``.

    Args:
        out: folder for ``figure1.svg`` to ``figure7.svg``; made if need be. A figure that is left out is not touched.
        table2: what ``edgeq reproduce table2`` left, for figures 4 and 5.
        table3: what ``edgeq reproduce table3`` left, for figures 6 and 7.

    Raises:
        FormatError: a manifest is damaged.
    """
    out, found = Path(out), Figures({}, {})
    for number, function, frequencies in FUNCTION_FIGURES:
        _write(found, number, draw_function(number, function, frequencies), out)
    ours2, ours3 = (_Runs(Path(folder) if folder else None) for folder in (table2, table3))
    plans: tuple[tuple[int, str, _Runs, float, Callable[[_Runs], list[BarGroup]]], ...] = (
        (4, "Figure 4: accuracy by bits, CIFAR-10, ResNet-20", ours2, PAPER_DEFAULT, _by_bits),
        (5, "Figure 5: accuracy by amplitude, CIFAR-10, ResNet-20, 8 bits", ours2, PAPER_DEFAULT, _by_amplitude),
        (6, "Figure 6: top-1 accuracy by amplitude, ImageNet, ResNet-50, 8 bits", ours3, PAPER_TOP1, _imagenet),
        (7, "Figure 7: top-1 accuracy by function, ImageNet, ResNet-50, 8 bits", ours3, PAPER_TOP1, _by_function),
    )
    for number, title, runs, paper_default, groups_of in plans:
        default = runs.accuracy("default", "float")
        groups = groups_of(runs)
        if default is None or all(item.here is None for group in groups for item in group.bars):
            found.left_out[number] = runs.missing("table2" if runs is ours2 else "table3")
        else:
            _write(found, number, draw_accuracies(title, groups, default, paper_default), out)
    return found


def draw_function(number: int, function: Function, frequencies: Sequence[int]) -> str:
    """A function over [-c, c] at amplitude 1, a panel a frequency; of sine and cosine what is squared, too."""
    import torch

    from edgeq.regularize import FUNCTIONS

    weights = torch.linspace(-1, 1, POINTS, dtype=torch.float64)
    parts = []
    for panel, frequency in enumerate(frequencies):
        left, middle, side, height = 50.0 + 460 * panel, 150.0, 380.0, 95.0
        values = FUNCTIONS[function].value(weights * frequency).tolist()
        across = [left + side * (w + 1) / 2 for w in weights.tolist()]
        parts += [
            text(left + side / 2, 30, f"({'ab'[panel]}) frequency = {frequency}", size=15, weight=600),
            path([(left, middle), (left + side, middle)], GREY, 1),
            *(text(left + side * (w + 1) / 2, middle + height + 24, s) for w, s in ((-1, "-c"), (0, "0"), (1, "c"))),
            *(text(left - 8, middle - height * v + 4, f"{v}", anchor="end") for v in (-1, 0, 1)),
        ]
        if function != "hat":
            wave = math.sin if function == "sine" else math.cos
            curve = [wave(math.pi * frequency * w) for w in weights.tolist()]
            parts.append(path(zip(across, [middle - height * v for v in curve], strict=True), GREY, 1.2, dashes="4 3"))
        parts.append(path(zip(across, [middle - height * v for v in values], strict=True), BLUE))
    words = "hat" if function == "hat" else f"{function} and its square"
    return drawing(940, 290, f"Figure {number}: {words}, amplitude 1", parts)


def draw_accuracies(title: str, groups: Sequence[BarGroup], default: float, paper_default: float) -> str:
    """Bars in percent, ours filled and the paper's as outlines, and the networks without the term as dotted lines."""
    left, base, height, width, gap = 60.0, 300.0, 230.0, 26.0, 44.0
    parts = [
        text(left, 28, title, size=15, anchor="start", weight=600),
        text(left, 48, "percent; filled: here, outlined: the paper's", anchor="start"),
    ]
    names = list(dict.fromkeys(item.name for group in groups for item in group.bars))
    colours = dict(zip(names, (BLUE, ORANGE, "#10b981", "#a855f7"), strict=False))
    x = left + gap / 2
    for group in groups:
        start = x
        for item in group.bars:
            told = (("here", item.here, True), ("paper", item.paper, False))
            for whose, value, filled in told:
                if value is not None:
                    label = f"{item.name}, {group.label}, {whose}: {value:.2f} %"
                    parts.append(bar(x, base, width, height * value / 100, colours[item.name], label, filled=filled))
                    parts.append(text(x + width / 2, base - height * value / 100 - 4, f"{value:.1f}", size=9))
                    x += width + 3
        parts.append(text((start + x) / 2, base + 20, group.label))
        x += gap
    right = max(x, left + 560)
    for percent in (0, 25, 50, 75, 100):
        y = base - height * percent / 100
        parts += [path([(left, y), (right, y)], GREY, 0.4), text(left - 8, y + 4, f"{percent}", anchor="end")]
    for value, words, dashes in ((default, "without the term, here", "2 3"), (paper_default, "in the paper", "7 4")):
        y = base - height * value / 100
        parts.append(path([(left, y), (right, y)], GREY, 1.6, dashes=dashes))
        parts.append(text(right, base + (42 if dashes == "2 3" else 58), f"{words}: {value:.2f} %", anchor="end"))
    for number, (name, colour) in enumerate(colours.items()):
        y = base + 34 + 18 * number
        parts += [bar(left, y + 10, 12, 12, colour, name), text(left + 18, y + 10, name, anchor="start")]
    return drawing(round(right + 20), round(base + 44 + 18 * max(1, len(colours))), title, parts)


class _Runs:
    """The finished runs in the folder of a sweep; a mean over the seeds."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        paths = sorted(folder.glob("[!.]*-seed*/manifest.json")) if folder is not None else []
        self._found: dict[str, list[dict[str, Any]]] = {}
        for file in paths:
            name = file.parent.name.rpartition("-seed")[0]
            self._found.setdefault(name, []).append(read_manifest(file))

    def accuracy(self, name: str, key: str) -> float | None:
        """In percent; None where no run of that name is finished."""
        values = [float(manifest["accuracy"][key]) for manifest in self._found.get(name, ())]
        return sum(values) / len(values) if values else None

    def missing(self, table: str) -> str:
        if self.folder is None:
            return f"no runs given: edgeq reproduce {table}, then --{table} FOLDER"
        return f"{self.folder} has no finished runs for it: edgeq reproduce {table} --out {self.folder}"


def _by_bits(runs: _Runs) -> list[BarGroup]:
    cells = [s for s in SETTINGS if s.schedule == "dynamic" and s.amplitude == DYNAMIC_AMPLITUDE]
    return [
        BarGroup(
            f"{cell.bits} bits",
            (
                Bar("Regu: trained with the term", runs.accuracy(cell.name, "float")),
                Bar("Quant: snapped", runs.accuracy(cell.name, "snapped"), cell.paper),
            ),
        )
        for cell in sorted(cells, key=lambda cell: cell.bits)
    ]


def _by_amplitude(runs: _Runs) -> list[BarGroup]:
    def bars(amplitude: float) -> tuple[Bar, ...]:
        cells: list[Setting] = [s for s in SETTINGS if s.bits == 8 and s.amplitude == amplitude]
        return tuple(Bar(f"{c.schedule} amplitude", runs.accuracy(c.name, "snapped"), c.paper) for c in cells)

    return [BarGroup(f"a = {amplitude:g}", bars(amplitude)) for amplitude in (0.1, 0.01, 0.001)]


def _imagenet(runs: _Runs) -> list[BarGroup]:
    return [
        BarGroup(f"a = {cell.amplitude:g}", (Bar("sine", runs.accuracy(cell.name, "snapped"), cell.top1),))
        for cell in CELLS
        if cell.function == "sine"
    ]


def _by_function(runs: _Runs) -> list[BarGroup]:
    return [
        BarGroup(f"{cell.function}, a = {cell.amplitude:g}", (Bar(cell.function, here, cell.top1),))
        for cell in CELLS
        if cell.amplitude == DYNAMIC_AMPLITUDE
        for here in (runs.accuracy(cell.name, "snapped"),)
    ]


def _write(found: Figures, number: int, content: str, out: Path) -> None:
    file = out / f"figure{number}.svg"
    write_whole(file, content.encode())
    found.files[number] = file
