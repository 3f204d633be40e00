"""Which classes are taken for which: a table of a few classes, a picture and lists of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.report.content import ReportInput
from edgeq.report.thumbnails import png_uri

__all__ = ["Confusion", "confusion"]

MOST_CLASSES_AS_TABLE = 20
MOST_SIDE = 256  # of the picture; above that several classes share a pixel
MOST_PAIRS = 20
MOST_WORST = 10
RIGHT_INK, WRONG_INK = (47, 125, 209), (214, 84, 44)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix as cells (count, share of the row), or of many classes as a picture and lists.

    Attributes:
        rows: name, cells and percent right of each class; empty for many classes.
        picture: data URI; a row is a true class, a column an answer.
        classes_a_pixel: of the picture.
        pairs: true class, answer, images; the most often confused.
        worst: class, percent right, images; the lowest.
        wrong, images: in all.
    """

    rows: tuple[tuple[str, tuple[tuple[int, float], ...], float | None], ...]
    picture: str
    classes_a_pixel: int
    pairs: tuple[tuple[str, str, int], ...]
    worst: tuple[tuple[str, float, int], ...]
    wrong: int
    images: int


def confusion(report: ReportInput) -> Confusion | None:
    """What there is to see of the confusion; None where there is no matrix."""
    cells, classes = report.details.confusion, report.classes
    if not cells:
        return None
    totals = np.zeros(len(classes), np.int64)
    right = np.zeros(len(classes), np.int64)
    for truth, answer, count in cells:
        totals[truth] += count
        right[truth] += count if truth == answer else 0
    few = len(classes) <= MOST_CLASSES_AS_TABLE
    wrong = sorted((cell for cell in cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    shares = {index: 100 * right[index] / totals[index] for index in np.flatnonzero(totals).tolist()}
    lowest = sorted(shares, key=lambda index: (shares[index], index))[:MOST_WORST]
    per_pixel = -(-len(classes) // MOST_SIDE)
    return Confusion(
        rows=_rows(cells, classes, totals) if few else (),
        picture="" if few else _picture(cells, totals, per_pixel),
        classes_a_pixel=per_pixel,
        pairs=tuple((classes[a], classes[b], n) for a, b, n in wrong[:MOST_PAIRS]),
        worst=tuple((classes[index], float(shares[index]), int(totals[index])) for index in lowest),
        wrong=int(totals.sum() - right.sum()),
        images=int(totals.sum()),
    )


def _rows(
    cells: Sequence[tuple[int, ...]], classes: Sequence[str], totals: NDArray[np.int64]
) -> tuple[tuple[str, tuple[tuple[int, float], ...], float | None], ...]:
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for truth, answer, count in cells:
        matrix[truth, answer] += count
    rows = []
    for index, name in enumerate(classes):
        total = int(totals[index])
        shown = tuple((int(count), int(count) / total if total else 0.0) for count in matrix[index])
        rows.append((name, shown, 100 * shown[index][1] if total else None))
    return tuple(rows)


def _picture(cells: Sequence[tuple[int, ...]], totals: NDArray[np.int64], per_pixel: int) -> str:
    """Blue on the diagonal, red beside it; the opacity grows with the root of the share of the row, from a third on, so
    that single images are seen."""
    side = -(-len(totals) // per_pixel)
    counts = np.zeros((2, side, side), np.float64)
    for truth, answer, count in cells:
        counts[int(truth != answer), truth // per_pixel, answer // per_pixel] += count
    rows = np.add.reduceat(totals, np.arange(0, len(totals), per_pixel)).astype(np.float64)
    share = np.sqrt(counts / np.maximum(rows, 1)[None, :, None])
    red = share[1] > share[0]
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = np.where(red[..., None], WRONG_INK, RIGHT_INK)
    strength = np.maximum(share[0], share[1])
    pixels[..., 3] = np.where(strength > 0, (1 + 2 * strength) / 3, 0) * 255
    return png_uri(pixels)
