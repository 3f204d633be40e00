"""The training's curves, and the same figures as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeq.report.charts import LineChart, line_chart, short

__all__ = ["TrainingTable", "training_charts", "training_table"]

MOST_ROWS = 50

# Keys of an epoch, by name of the curve; title, unit, factor.
_CHARTS: tuple[tuple[dict[str, str], str, str, float], ...] = (
    ({"loss": "loss"}, "Training loss", "", 1.0),
    ({"loss": "validation_loss"}, "Loss on images left out", "", 1.0),
    ({"test": "test_accuracy", "training": "train_accuracy"}, "Accuracy", "%", 1.0),
    ({"test": "test_error"}, "Mean squared error", "", 1.0),
    ({"learning rate": "learning_rate"}, "Learning rate", "", 1.0),
    ({"amplitude": "amplitude"}, "Amplitude of the periodic term", "", 1.0),
    ({"eta": "eta"}, "Strength η of the decoupled pull", "", 1.0),
    ({"distance": "distance"}, "Mean distance from the grid", "steps", 1.0),
    ({"share": "share_on_grid"}, "Weights within 0.05 step of the grid", "%", 100.0),
)
_LEFT_OUT_AT_ZERO = {"amplitude", "eta"}  # the form of the regularizer that was not used


@dataclass(frozen=True, slots=True)
class TrainingTable:
    """The figures behind the curves, a row an epoch, of long trainings a part of the epochs."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    epochs: int


def training_charts(history: Sequence[Mapping[str, float]]) -> list[LineChart]:
    """One drawing for each quantity that has a value; the periodic term's own ones come last."""
    epochs = [_epoch(index, entry) for index, entry in enumerate(history)]
    charts = []
    for keys, title, unit, factor in _CHARTS:
        curves = {
            name: [None if key not in entry else entry[key] * factor for entry in history]
            for name, key in keys.items()
            if any(entry.get(key) if key in _LEFT_OUT_AT_ZERO else key in entry for entry in history)
        }
        chart = (
            line_chart(title, unit, epochs, curves, magnitudes=not _LEFT_OUT_AT_ZERO.isdisjoint(keys.values()))
            if history and curves
            else None
        )
        if chart is not None:
            charts.append(chart)
    return charts


def training_table(history: Sequence[Mapping[str, float]]) -> TrainingTable | None:
    """Every epoch, or about 50 of them with the last; None where there is none."""
    keys = [
        (key, f"{title}, {unit}" if unit else title, factor)
        for curves, title, unit, factor in _CHARTS
        for key in curves.values()
        if any(entry.get(key) for entry in history)
    ]
    titles = {"test_accuracy": "Test accuracy, %", "train_accuracy": "Training accuracy, %"}
    every = -(-len(history) // MOST_ROWS)
    if not keys:
        return None
    rows = []
    for index, entry in list(enumerate(history))[::-1][::every][::-1]:
        cells = [short(entry[key] * factor) if key in entry else "" for key, _, factor in keys]
        rows.append((f"{_epoch(index, entry):g}", *cells))
    return TrainingTable(tuple(titles.get(key, title) for key, title, _ in keys), tuple(rows), len(history))


def _epoch(index: int, entry: Mapping[str, float]) -> float:
    """Counted from 1, as the progress of the training counts them."""
    return entry.get("epoch", index) + 1
