"""Geometry of the report's drawings: pure functions from numbers to SVG coordinates. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bars", "LineChart", "Point", "Tick", "bars", "line_chart", "nice_ticks", "short"]

# The drawing in its own units; the page scales it to the column's width.
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 22
BARS_HEIGHT = 60


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis, in the drawing's units."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a series: its place, and what it says when pointed at."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """One series over its x axis; ``path`` is an SVG path from known value to known value."""

    title: str
    unit: str
    last: str
    path: str
    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    """A histogram: ``path`` is its outline, one unit wide a bin, ``BARS_HEIGHT`` high where the count is ``peak``."""

    bins: int
    peak: int
    total: int
    even: float
    path: str


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round values that enclose [low, high], evenly spaced by 1, 2 or 5 times a power of ten."""
    if not high > low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def line_chart(
    title: str, unit: str, x: Sequence[float], y: Sequence[float | None], *, x_name: str = "epoch"
) -> LineChart | None:
    """Lay out one series.

    Args:
        title, unit: what the values are.
        x: ascending, finite.
        y: as many values; None, NaN and infinity were not measured and are passed over.

    Returns:
        The drawing, or None where there is no finite value.
    """
    values = [None if v is None or not math.isfinite(v) else float(v) for v in y]
    known = [v for v in values if v is not None]
    if not known:
        return None
    y_values = nice_ticks(min(known), max(known))
    if min(known) >= 0:
        y_values = [v for v in y_values if v >= 0]
    y_span = (y_values[0], y_values[-1])
    x_span = (min(x), max(x)) if max(x) > min(x) else (min(x) - 0.5, max(x) + 0.5)

    def place(a: float, b: float) -> tuple[float, float]:
        across = LEFT + (a - x_span[0]) / (x_span[1] - x_span[0]) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (b - y_span[0]) / (y_span[1] - y_span[0]) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    points = []
    for a, b in zip(x, values, strict=True):
        if b is not None:
            points.append(Point(*place(a, b), f"{x_name} {a:g}: {short(b)}{unit and ' ' + unit}"))
    path = "M" + "L".join(f"{point.x:g} {point.y:g}" for point in points)
    x_ticks = tuple(Tick(place(v, y_span[0])[0], f"{v:g}") for v in _whole_ticks(*x_span))
    y_ticks = tuple(Tick(place(x_span[0], v)[1], short(v)) for v in y_values)
    return LineChart(title, unit, short(known[-1]), path, tuple(points), x_ticks, y_ticks)


def _whole_ticks(low: float, high: float) -> list[float]:
    return [v for v in nice_ticks(low, high, 5) if low <= v <= high and v == round(v)]


def short(value: float) -> str:
    """A figure in four digits at most, for a label."""
    if value and abs(value) < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"


def bars(counts: NDArray[np.int64]) -> Bars | None:
    """Lay out a histogram of counts [N]; None where all are zero. A bin that is not empty is at least one unit high."""
    peak = int(counts.max(initial=0))
    if peak <= 0:
        return None
    heights = [0 if count <= 0 else max(1, round(int(count) / peak * BARS_HEIGHT)) for count in counts]
    path, level = f"M0 {BARS_HEIGHT}", 0
    for height, run in groupby(heights):
        path += f"v{level - height}h{len(list(run))}"
        level = height
    even = round(BARS_HEIGHT * (1 - counts.sum() / counts.size / peak), 1)
    return Bars(counts.size, peak, int(counts.sum()), even, f"{path}V{BARS_HEIGHT}z")
