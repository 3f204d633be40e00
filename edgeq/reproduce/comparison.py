"""The comparison of methods: how far each is from the network without a grid, and what was asked of the pull."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from edgeq.display.summary import Result, Summary, table
from edgeq.reproduce.seeds import mean, mean_text, nulls, points_text

__all__ = ["FLOAT_BITS", "Claim", "Comparison", "ComparisonRow", "StorageRow"]

FLOAT_BITS: Final = 32

# What is asked of the pull, in points of accuracy by bits, and in steps.
BELOW_FLOAT: Final = {8: 0.1, 4: 0.3, 2: 1.5}
BY_SNAP: Final = 0.1
DISTANCE: Final = 0.01
FEW_BITS: Final = (4, 2)


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A method at so many bits.

    Attributes:
        method, bits: which; the network without a grid is ``float`` at 32, and trained on as long as the others
            ``float, trained on``.
        before: accuracy of the trained network before the snap, in percent, a seed each; NaN where a run failed.
        snapped: after it.
        tflite: through the file.
        distance: mean distance to the grid before the snap, in steps.
        tflite_bytes: of the file.
    """

    method: str
    bits: int
    before: tuple[float, ...]
    snapped: tuple[float, ...]
    tflite: tuple[float, ...]
    distance: tuple[float, ...]
    tflite_bytes: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        return self.bits == FLOAT_BITS

    @property
    def accuracy(self) -> float:
        """Mean over the seeds as it ships, through the file or, without a grid, as it is; NaN where a run failed."""
        return mean(self.before if self.is_float else self.tflite)

    @property
    def by_snap(self) -> tuple[float, ...]:
        """What the snap changes, in points, a seed each."""
        pairs = () if self.is_float else zip(self.before, self.snapped, strict=True)
        return tuple(after - before for before, after in pairs)


@dataclass(frozen=True, slots=True)
class Claim:
    """Something asked of the pull, and what was measured.

    Attributes:
        text: what is asked.
        measured: the figure that must not exceed ``bound``; NaN where a run failed.
    """

    text: str
    measured: float
    bound: float

    @property
    def holds(self) -> bool:
        return round(self.measured - self.bound, 6) <= 0


@dataclass(frozen=True, slots=True)
class StorageRow:
    """A number of bits, stored in one way.

    Attributes:
        bits: of the weights.
        packed: whether several codes share a byte where LiteRT has a kernel that takes them so.
        weights: how many weights there are of each type in the TFLite file, such as 21 of ``int4`` and 1 of ``int2``.
        tflite_bytes, onnx_bytes: of both files; that of ONNX has INT4 where packed.
        latency_ms: median of an inference in LiteRT on this machine, one thread.
        latency_ratio: to the first row's, measured in turns in one run.
        reasons: why weights are not in as few bits as they could be.
    """

    bits: int
    packed: bool
    weights: dict[str, int]
    tflite_bytes: int
    onnx_bytes: int
    latency_ms: float
    latency_ratio: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """All methods at all bits.

    Attributes:
        start: how the network without a grid was trained.
        epochs: of that.
        fine_tuning_epochs: of each training after it.
        seeds: of the repetitions.
        rows: the network without a grid first.
        failures: the last line of a failed run, by its name.
        storage: size and latency by bits, of the first seed's builds.
    """

    start: str
    epochs: int
    fine_tuning_epochs: int
    seeds: tuple[int, ...]
    rows: tuple[ComparisonRow, ...]
    failures: dict[str, str]
    storage: tuple[StorageRow, ...] = ()

    def to_float(self, row: ComparisonRow, *, trained_on: bool = False) -> float:
        """How far a row is above the network without a grid that it began from, or that trained on, in points."""
        return row.accuracy - self.rows[1 if trained_on else 0].accuracy

    def near_float(self, row: ComparisonRow) -> Claim | None:
        """Whether a row is as near to float as is asked of its bits; None where nothing is."""
        bound = None if row.is_float else BELOW_FLOAT.get(row.bits)
        text = f"{row.bits} bits: at most {bound} points below float"
        return None if bound is None else Claim(text, -self.to_float(row), bound)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What is asked of the pull at each number of bits."""
        by = {(row.method, row.bits): row for row in self.rows}
        claims = []
        for bits in (row.bits for row in self.rows if row.method == "periodic"):
            row = by["periodic", bits]
            near = self.near_float(row)
            claims += [] if near is None else [near]
            change = mean([abs(points) for points in row.by_snap])
            claims.append(Claim(f"{bits} bits: at most {BY_SNAP} points by the snap", change, BY_SNAP))
            far = mean(row.distance)
            claims.append(Claim(f"{bits} bits: at most {DISTANCE} steps from the grid before it", far, DISTANCE))
            if bits in FEW_BITS:
                less = by["straight-through", bits].accuracy - row.accuracy
                claims.append(Claim(f"{bits} bits: not below straight-through", less, 0.0))
        return tuple(claims)

    def summary(self) -> Summary:
        columns = ["method", "bits", "before the snap, %", "snapped, %", "TFLite, %", "- float", "- trained on"]
        columns += ["by the snap", "distance", "within"]
        tuned, seeds = self.fine_tuning_epochs, len(self.seeds)
        title = f"{self.start}, then {tuned} for each row; mean of {seeds} seed(s)"
        claims = [f"{_yes(claim.holds):3} {claim.text} ({claim.measured:.4g})" for claim in self.claims]
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        shown = [table(title, columns, [self._cells(row) for row in self.rows], right=set(range(1, 9)))]
        if self.storage:
            rows = [_storage_cells(row) for row in self.storage]
            columns = ["bits", "weights in the TFLite file", "TFLite, bytes", "ONNX, bytes", "latency, ms", "ratio"]
            title = "LiteRT on this machine, one thread; ratios are measured in turns"
            shown.append(table(title, columns, rows, right={0, 2, 3, 4, 5}))
        reasons = dict.fromkeys(reason for row in self.storage for reason in row.reasons)
        return (*shown, *(f"note  {reason}" for reason in reasons), *claims, *failed)

    def _cells(self, row: ComparisonRow) -> list[str]:
        cells = [row.method, str(row.bits), mean_text(row.before)]
        far = [points_text(self.to_float(row)), points_text(self.to_float(row, trained_on=True))]
        if row.is_float:
            return [*cells, "", "", *far, "", "", ""]
        cells += [mean_text(row.snapped), mean_text(row.tflite), *far, mean_text(row.by_snap, signed=True)]
        cells.append(mean_text(row.distance, 4))
        near = self.near_float(row)
        return [*cells, "" if near is None else f"{near.bound}: {_yes(near.holds)}"]

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; those of failed runs are null."""
        result = dataclasses.asdict(self)
        for row, found in zip(result["rows"], self.rows, strict=True):
            for key in ("before", "snapped", "tflite", "distance"):
                row[key] = nulls(row[key])
            far = (found.accuracy, self.to_float(found), self.to_float(found, trained_on=True))
            row["accuracy"], row["to_float"], row["to_float_trained_on"] = nulls([round(value, 4) for value in far])
            row["by_snap"] = nulls([round(value, 4) for value in found.by_snap])
            near = self.near_float(found)
            row["near_float"] = None if near is None else {"bound": near.bound, "holds": near.holds}
        result["claims"] = [
            {**dataclasses.asdict(claim), "measured": nulls([round(claim.measured, 6)])[0], "holds": claim.holds}
            for claim in self.claims
        ]
        return result


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _storage_cells(row: StorageRow) -> list[str]:
    weights = ", ".join(f"{count} {kind}" for kind, count in sorted(row.weights.items(), reverse=True))
    sizes = [f"{size:,}" for size in (row.tflite_bytes, row.onnx_bytes)]
    return [str(row.bits), weights, *sizes, f"{row.latency_ms:.4f}", f"{row.latency_ratio:.2f}"]
