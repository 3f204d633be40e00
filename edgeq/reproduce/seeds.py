"""Figures of runs that differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeq.manifest import mean_distance
from edgeq.sweep import Sweep

__all__ = ["accuracy", "distance", "figures", "mean", "mean_text", "nulls", "points_text"]


def figures(
    sweep: Sweep, name: str, seeds: Sequence[int], figure: Callable[[Mapping[str, Any]], float]
) -> tuple[float, ...]:
    """A figure of the manifest of each run ``NAME-seedN``; NaN where it failed."""
    manifests = [sweep.manifests.get(f"{name}-seed{seed}") for seed in seeds]
    return tuple(math.nan if found is None else float(figure(found)) for found in manifests)


def accuracy(stage: str) -> Callable[[Mapping[str, Any]], float]:
    """For :func:`figures`: in percent, after a stage."""
    return lambda manifest: float(manifest["accuracy"][stage])


def distance(manifest: Mapping[str, Any]) -> float:
    """For :func:`figures`: the mean distance from the grid before the snap, in steps."""
    return mean_distance(manifest["layers"])


def nulls(values: Sequence[float]) -> list[float | None]:
    """For JSON, which has no NaN."""
    return [None if math.isnan(value) else value for value in values]


def mean(values: Sequence[float]) -> float:
    """NaN where a run failed, or of nothing."""
    return sum(values) / len(values) if values else math.nan


def mean_text(values: Sequence[float], digits: int = 2, *, signed: bool = False) -> str:
    """The mean, for a table: empty of no values, "failed" where a run failed."""
    if any(map(math.isnan, values)):
        return "failed"
    return f"{mean(values):{'+' if signed else ''}.{digits}f}" if values else ""


def points_text(value: float) -> str:
    """A difference in points, for a table: empty where a run failed."""
    return "" if math.isnan(value) else f"{value:+.2f}"
