"""``report.json``: what the page shows beyond manifest and weights, so that it can be drawn again without the data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeq.errors import FormatError
from edgeq.json_file import from_table, read_json
from edgeq.report.content import Details, Disagreement
from edgeq.report.thumbnails import thumbnail_uri

if TYPE_CHECKING:
    from edgeq.data import ImageData
    from edgeq.train import EpochLog
    from edgeq.verify.report import Verification

__all__ = [
    "MOST_SHOWN",
    "SCHEMA",
    "finite_history",
    "gather_details",
    "read_details",
    "write_details",
]

SCHEMA = 1
MOST_SHOWN = 24


def gather_details(data: ImageData, found: Verification, history: Sequence[EpochLog], command: str) -> Details:
    """Confusion, disagreements and curves of a build that was just verified."""
    if found.error:
        return Details(command=command, history=finite_history(history))
    labels = data.test_labels.numpy()
    pairs, counts = np.unique(np.stack([labels, found.predictions]), axis=1, return_counts=True)
    differing = np.flatnonzero(found.predictions != found.float_predictions)
    surest = differing[np.argsort(-found.float_confidences[differing], kind="stable")][:MOST_SHOWN]
    float_right = int((found.float_predictions[differing] == labels[differing]).sum())
    int8_right = int((found.predictions[differing] == labels[differing]).sum())
    return Details(
        command=command,
        history=finite_history(history),
        confusion=tuple((int(a), int(b), int(n)) for a, b, n in zip(*pairs, counts, strict=True)),
        disagreements={
            "float": float_right,
            "int8": int8_right,
            "neither": len(differing) - float_right - int8_right,
        },
        shown=tuple(
            Disagreement(
                image=thumbnail_uri(data.test_images[int(i)].permute(1, 2, 0).numpy()),
                label=int(labels[i]),
                float_class=int(found.float_predictions[i]),
                int8_class=int(found.predictions[i]),
                float_score=round(float(found.float_confidences[i]), 4),
                int8_score=round(float(found.confidences[i]), 4),
            )
            for i in surest
        ),
    )


def finite_history(history: Sequence[EpochLog]) -> tuple[dict[str, float], ...]:
    """The curves, without what was not measured and what is not finite, which JSON cannot hold."""
    return tuple(
        {key: value for key, value in dataclasses.asdict(log).items() if value is not None and math.isfinite(value)}
        for log in history
    )


def write_details(details: Details, path: Path) -> None:
    text = json.dumps(dataclasses.asdict(details), allow_nan=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def read_details(path: Path) -> Details:
    """Read a ``report.json`` from outside.

    Raises:
        FormatError: it cannot be read, is too large, or is not what :func:`write_details` writes.
    """
    table = read_json(path)
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        got = table.get("schema") if isinstance(table, dict) else type(table).__name__
        raise FormatError("has another schema", where=path, got=got, wanted=SCHEMA)
    return from_table(Details, table, path)
