"""Drawings: ticks, curves and histograms hold what they were given, inside their frame."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.report import charts

finite = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False)


@given(finite, finite)
def test_ticks_enclose_the_values_evenly_at_round_numbers(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    if 0 < high - low < 1e-6 * max(abs(low), abs(high)):
        return  # no label of four digits tells these apart
    ticks = charts.nice_ticks(low, high)
    steps = np.diff(ticks)
    slack = 1e-6 * steps[0]
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert np.allclose(steps, steps[0])
    assert 2 <= len(ticks) <= 7
    assert round(steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9), 6) in (1, 2, 5)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False), st.just(math.nan)), min_size=1))
def test_a_curve_stays_in_its_frame_and_keeps_the_order_of_its_values(values: list[float | None]) -> None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    chart = charts.line_chart("loss", "", list(range(len(values))), {"loss": values})
    if not known:
        assert chart is None
        return
    assert chart is not None
    (series,) = chart.series
    places = check_places(series.path)
    assert len(places) == len(known)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    order = np.argsort(known, kind="stable")
    assert all(np.diff([places[i][1] for i in order]) <= 0)  # SVG's y axis points down
    last = (series.points[-1].x, series.points[-1].y)
    assert last == places[-1]
    assert len(series.points) <= charts.MOST_POINTS


@given(st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1))
def test_an_axis_of_shares_ends_at_all_of_them(values: list[float]) -> None:
    chart = charts.line_chart("accuracy", "%", list(range(len(values))), {"test": values})
    assert chart is not None
    check_places(chart.series[0].path)
    assert len(chart.y_ticks) >= 2
    assert all(0 <= float(tick.label) <= 100 for tick in chart.y_ticks)


def check_places(path: str) -> list[tuple[float, float]]:
    """The corners of a path, which must be in the frame."""
    places = [(float(x), float(y)) for x, y in (corner.split() for corner in path.removeprefix("M").split("L"))]
    assert all(charts.LEFT <= x <= charts.WIDTH - charts.RIGHT for x, _ in places)
    assert all(charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM for _, y in places)
    return places


@given(st.lists(st.floats(-40, 3), min_size=2, max_size=40))
def test_magnitudes_are_drawn_evenly_and_zeros_passed_over(exponents: list[float]) -> None:
    values = [0.0, *(10.0**exponent for exponent in exponents)]
    chart = charts.line_chart("amplitude", "", list(range(len(values))), {"a": values}, magnitudes=True)
    assert chart is not None
    places = check_places(chart.series[0].path)
    assert chart.logarithmic == (max(values) > 1000 * min(values[1:]))
    if chart.logarithmic:
        assert len(places) == len(exponents)
        slope = np.polyfit(exponents, [y for _, y in places], 1)
        assert np.allclose(np.polyval(slope, exponents), [y for _, y in places], atol=0.2)
        assert 2 <= len(chart.y_ticks) <= 7


def outline(path: str, bins: int) -> list[int]:
    """Heights of an outline drawn with relative v and h, read back bin by bin."""
    heights, level = [], 0
    for command, number in re.findall(r"([vh])(-?\d+)", path):
        if command == "v":
            level -= int(number)
        else:
            heights += [level] * int(number)
    assert len(heights) == bins
    return heights


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_a_histogram_shows_each_count_to_the_unit(counts: list[int]) -> None:
    shape = charts.bars(np.array(counts, np.int64))
    if not any(counts):
        assert shape is None
        return
    assert shape is not None
    assert (shape.peak, shape.total) == (max(counts), sum(counts))
    for height, count in zip(outline(shape.path, len(counts)), counts, strict=True):
        assert (height > 0) == (count > 0)  # a code that is used once is seen
        assert abs(height - count / max(counts) * charts.BARS_HEIGHT) <= 1


@pytest.mark.parametrize("value", [0.0, 1e-4, 0.05, 98.3333333, 2.5e-7, 1234567.0, -3.25e-5])
def test_a_short_figure_is_short_and_close(value: float) -> None:
    text = charts.short(value)
    assert len(text) <= 9
    assert float(text) == pytest.approx(value, rel=5e-3)
