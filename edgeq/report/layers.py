"""The layers' weights before and after the snap, drawn: which codes are used, and where the weights lay before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.report.charts import Bars, bars, runs
from edgeq.report.content import LayerView

__all__ = ["LayerRow", "layer_rows"]

MOST_DRAWN = 64  # layers with histograms; those with the most weights


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer's row and its histograms.

    Attributes:
        layer: its figures.
        weights: how many.
        distance: mean, in steps, before the snap; None where it is not known.
        used, available: codes.
        strip: SVG path over the codes in use, ``available`` wide and 1 high.
        qmax: the largest code.
        drawn: whether its histograms are shown.
        codes, positions, before: the histograms.
    """

    layer: LayerView
    weights: int
    distance: float | None
    used: int
    available: int
    strip: str
    qmax: int
    drawn: bool
    codes: Bars | None
    positions: Bars | None
    before: Bars | None


def layer_rows(layers: Sequence[LayerView], manifest: Mapping[str, Any]) -> list[LayerRow]:
    """Each layer, the 64 largest with histograms; the distance is the manifest's."""
    distances = {entry.get("name"): entry.get("distance") for entry in manifest.get("layers") or []}
    largest = sorted(range(len(layers)), key=lambda index: -math.prod(layers[index].shape))[:MOST_DRAWN]
    return [_row(layer, distances.get(layer.name), index in largest) for index, layer in enumerate(layers)]


def _row(layer: LayerView, distance: float | None, drawn: bool) -> LayerRow:
    qmax = layer.code_counts.size // 2
    # A cosine grid reaches 2^bits - 1 and has the odd codes only (edgeq.grid); sine and hat reach 2^(bits-1) - 1.
    odd_only = qmax == 2**layer.bits - 1
    counts = layer.code_counts[::2] if odd_only else layer.code_counts
    return LayerRow(
        layer=layer,
        weights=math.prod(layer.shape),
        distance=distance if layer.position_histogram.size else None,
        used=int(np.count_nonzero(layer.code_counts)),
        available=counts.size,
        strip=runs(counts > 0),
        qmax=qmax,
        drawn=drawn,
        codes=bars(counts) if drawn else None,
        positions=bars(layer.position_histogram) if drawn else None,
        before=bars(layer.before) if drawn else None,
    )
