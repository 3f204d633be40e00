"""Geometry of the report's drawings: pure functions from numbers to SVG coordinates. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bars", "LineChart", "Point", "Series", "Tick", "bars", "line_chart", "nice_ticks", "runs", "short"]

# The drawing in its own units; the page scales it to the column's width.
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 22
BARS_HEIGHT = 60
LOGARITHMIC_FROM = 1000
MOST_POINTS = 60  # a curve's, that say their value when pointed at


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
class Series:
    """One curve: ``path`` is an SVG path from known value to known value; ``last`` is the last value, in words."""

    name: str
    last: str
    path: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Curves over one x axis; the first is the one that matters."""

    title: str
    unit: str
    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    logarithmic: bool


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
    title: str,
    unit: str,
    x: Sequence[float],
    curves: Mapping[str, Sequence[float | None]],
    *,
    x_name: str = "epoch",
    magnitudes: bool = False,
) -> LineChart | None:
    """Lay out a few curves.

    Args:
        title, unit: what the values are.
        x: ascending, finite.
        curves: by name, as many values each; None, NaN and infinity were not measured and are passed over.
        magnitudes: the values count by their order of magnitude: the y axis is logarithmic, zeros are passed over,
            where they span more than a factor of 1000.

    Returns:
        The drawing, or None where there is no finite value.
    """
    finite = {name: [None if v is None or not math.isfinite(v) else float(v) for v in y] for name, y in curves.items()}
    known = [v for values in finite.values() for v in values if v is not None]
    if not known:
        return None
    positive = [v for v in known if v > 0]
    logarithmic = magnitudes and bool(positive) and max(positive) > LOGARITHMIC_FROM * min(positive)
    if logarithmic:
        known = positive
    y_values = _decades(min(known), max(known)) if logarithmic else nice_ticks(min(known), max(known))
    if min(known) >= 0:
        y_values = [v for v in y_values if v >= 0]
    if unit == "%" and max(known) <= 100:
        y_values = [v for v in y_values if v <= 100]
    y_span = (y_values[0], y_values[-1])
    x_span = (min(x), max(x)) if max(x) > min(x) else (min(x) - 0.5, max(x) + 0.5)

    def place(a: float, b: float) -> tuple[float, float]:
        across = LEFT + (a - x_span[0]) / (x_span[1] - x_span[0]) * (WIDTH - LEFT - RIGHT)
        low, high, value = (math.log10(v) for v in (*y_span, b)) if logarithmic else (*y_span, b)
        down = HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    series = []
    for name, values in finite.items():
        found = [(a, b) for a, b in zip(x, values, strict=True) if b is not None and (b > 0 or not logarithmic)]
        if found:
            points = tuple(Point(*place(a, b), f"{x_name} {a:g}: {short(b)}{unit and ' ' + unit}") for a, b in found)
            path = "M" + "L".join(f"{point.x:g} {point.y:g}" for point in points)
            series.append(Series(name, short(found[-1][1]), path, _thinned(points)))
    x_ticks = tuple(Tick(place(v, y_span[0])[0], f"{v:g}") for v in _whole_ticks(*x_span))
    y_ticks = tuple(Tick(place(x_span[0], v)[1], short(v)) for v in y_values)
    return LineChart(title, unit, tuple(series), x_ticks, y_ticks, logarithmic)


def _thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """So many that a finger can tell them apart, the last among them."""
    every = -(-len(points) // MOST_POINTS)
    return points[::-1][::every][::-1]


def _decades(low: float, high: float) -> list[float]:
    """Two to six powers of ten around [low, high], evenly spaced in their exponents."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    step = max(1, math.ceil((last - first) / 5))
    return [10.0**power for power in range(last - step * math.ceil((last - first) / step), last + 1, step)]


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


def runs(used: NDArray[np.bool_]) -> str:
    """An SVG path of rectangles, one unit wide an entry and one high, over the entries that are true."""
    path, place = "", 0
    for there, run in groupby(used.tolist()):
        length = len(list(run))
        if there:
            path += f"M{place} 0h{length}v1h-{length}z"
        place += length
    return path
