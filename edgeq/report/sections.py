"""From a build's figures to the rows, tiles and drawings of the report's sections. No HTML here."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from edgeq.report.charts import Bars, LineChart, bars, line_chart
from edgeq.report.content import Disagreement, LayerView, ReportInput

__all__ = [
    "Confusion",
    "LayerRow",
    "Picture",
    "Verdict",
    "accuracies",
    "confusion",
    "layer_rows",
    "pictures",
    "training_charts",
    "verdict",
]

MOST_PICTURES = 24
MOST_CLASSES_AS_MATRIX = 20
MOST_PAIRS = 20
LONGEST_SIDE = 96
ACCEPTED_DROP = 0.3  # points below float that edgeq promises at 8 bits on its own data


@dataclass(frozen=True, slots=True)
class Verdict:
    """The page's first line."""

    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer's row and its two histograms."""

    layer: LayerView
    weights: int
    distance: float | None
    used: int
    available: int
    qmax: int
    codes: Bars | None
    positions: Bars | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix as cells (count, share of the row), or for many classes the pairs most often confused."""

    rows: tuple[tuple[str, tuple[tuple[int, float], ...], float | None], ...]
    pairs: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a data URI with the true class and both answers."""

    uri: str
    label: str
    float_class: str
    int8_class: str


def accuracies(manifest: Mapping[str, Any]) -> list[tuple[str, str, float | None, float | None]]:
    """Key, what ran, accuracy in percent and points above float, of each stage that the manifest has."""
    measured = manifest.get("accuracy") or {}
    ran = {
        "float": "PyTorch, float weights",
        "snapped": "PyTorch, weights on the grid",
        "onnx": "onnxruntime, model.onnx",
        "tflite": "LiteRT, model.tflite",
    }
    base = measured.get("float")
    rows = [(key, words, measured[key]) for key, words in ran.items() if measured.get(key) is not None]
    return [(key, words, value, None if base is None or key == "float" else value - base) for key, words, value in rows]


def verdict(manifest: Mapping[str, Any]) -> Verdict | None:
    """Whether the artifact keeps what was trained, in one sentence; None where nothing was verified."""
    measured, parity = manifest.get("accuracy") or {}, manifest.get("parity") or {}
    before, after = measured.get("float"), measured.get("tflite")
    if before is None or after is None:
        return None
    drop = before - after
    place = "as accurate as" if abs(drop) < 0.005 else f"{abs(drop):.2f} points {'below' if drop > 0 else 'above'}"
    text = f"model.tflite is {place} the float network"
    if parity.get("max_code_difference") is not None:
        codes = parity["max_code_difference"]
        text += f"; the runtimes differ by {codes} {'code' if codes == 1 else 'codes'} at most"
    return Verdict(drop <= ACCEPTED_DROP + 1e-9, text + ".")


def training_charts(history: Sequence[Mapping[str, float | None]]) -> list[LineChart]:
    """One drawing for each quantity that has a value; the periodic term's own ones come last."""
    kinds = (
        ("loss", "Training loss", "", 1.0),
        ("test_accuracy", "Test accuracy", "%", 1.0),
        ("learning_rate", "Learning rate", "", 1.0),
        ("amplitude", "Amplitude of the periodic term", "", 1.0),
        ("distance", "Mean distance from the grid", "steps", 1.0),
        ("share_on_grid", "Weights within 0.05 step of the grid", "%", 100.0),
    )
    epochs = [float(entry.get("epoch") or 0) if "epoch" in entry else float(i) for i, entry in enumerate(history)]
    charts = []
    for key, title, unit, factor in kinds:
        values = [None if (value := entry.get(key)) is None else value * factor for entry in history]
        chart = line_chart(title, unit, epochs, values) if values else None
        if chart is not None:
            charts.append(chart)
    return charts


def layer_rows(layers: Sequence[LayerView], manifest: Mapping[str, Any]) -> list[LayerRow]:
    """Each layer with its histograms; the distance is the manifest's."""
    distances = {entry.get("name"): entry.get("distance") for entry in manifest.get("layers") or []}
    rows = []
    for layer in layers:
        qmax = layer.code_counts.size // 2
        # A cosine grid reaches 2^bits - 1 and has the odd codes only (edgeq.grid); sine and hat reach 2^(bits-1) - 1.
        odd_only = qmax == 2**layer.bits - 1
        counts = layer.code_counts[::2] if odd_only else layer.code_counts
        used = int(np.count_nonzero(layer.code_counts))
        row = LayerRow(
            layer=layer,
            weights=math.prod(layer.shape),
            distance=distances.get(layer.name),
            used=used,
            available=counts.size,
            qmax=qmax,
            codes=bars(counts),
            positions=bars(layer.position_histogram),
        )
        rows.append(row)
    return rows


def confusion(report: ReportInput) -> Confusion | None:
    """The matrix for up to 20 classes, else the 20 pairs most often confused; None where there is no matrix."""
    matrix, classes = report.confusion, report.classes
    if not matrix.size:
        return None
    if len(classes) <= MOST_CLASSES_AS_MATRIX:
        rows = []
        for index, name in enumerate(classes):
            total = int(matrix[index].sum())
            cells = tuple((int(count), int(count) / total if total else 0.0) for count in matrix[index])
            rows.append((name, cells, 100 * cells[index][1] if total else None))
        return Confusion(tuple(rows), ())
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(classes)) for place in order]
    pairs = tuple((classes[i], classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j])
    return Confusion((), pairs)


def pictures(items: Sequence[Disagreement], classes: Sequence[str]) -> list[Picture]:
    """The first 24 disagreements, drawn."""
    return [
        Picture(_png_uri(item), classes[item.label], classes[item.float_class], classes[item.int8_class])
        for item in items[:MOST_PICTURES]
    ]


def _png_uri(item: Disagreement) -> str:
    pixels = item.image[:, :, 0] if item.image.shape[2] == 1 else item.image
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    data = io.BytesIO()
    image.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
