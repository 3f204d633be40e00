"""The table over all compression methods: what arrives on the device, and how far it is from the plain 8-bit build."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgeq.display.summary import Result, Summary, table
from edgeq.reproduce.seeds import mean, mean_text, nulls, points_text

__all__ = ["CompressionRow", "CompressionTable", "Instructions"]


class Instructions(NamedTuple):
    """Of one inference under QEMU; 0 where it was not counted."""

    cortex_a7: int = 0
    cortex_a75: int = 0


NOT_COUNTED: Final = Instructions()


@dataclass(frozen=True, slots=True)
class CompressionRow:
    """A way to make the network smaller.

    Attributes:
        name: of its runs.
        compress: its methods, as ``--compress`` has them; empty where it is a method of training or the plain build.
        bits: of a weight.
        tflite: accuracy through the file, in percent, a seed each; NaN where a run failed.
        weights: how many there are in the file.
        macs: multiply-adds of the layers, one inference.
        tflite_bytes, packed_bytes: of the first seed's file, and of its package (``edgeq pack``).
        instructions: of one inference.
        paper: the figure of the method's own paper.
        refused: why its method cannot be applied to this network; empty where it was.
    """

    name: str
    compress: tuple[str, ...]
    bits: int
    tflite: tuple[float, ...]
    weights: int = 0
    macs: int = 0
    tflite_bytes: int = 0
    packed_bytes: int = 0
    instructions: Instructions = NOT_COUNTED
    paper: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class CompressionTable(Result):
    """All of them.

    Attributes:
        start: how the network without a grid was trained.
        epochs: of that.
        retraining_epochs: of each row.
        seeds: of the repetitions.
        float_accuracy: of the network without a grid, a seed each.
        rows: the plain 8-bit build first.
        failures: the last line of a failed run, by its name; what a method refused of all seeds is in its row.
    """

    start: str
    epochs: int
    retraining_epochs: int
    seeds: tuple[int, ...]
    float_accuracy: tuple[float, ...]
    rows: tuple[CompressionRow, ...]
    failures: dict[str, str]

    def to_plain(self, row: CompressionRow) -> float:
        """How far a row's accuracy is above that of the plain 8-bit build, in points."""
        return mean(row.tflite) - mean(self.rows[0].tflite)

    def summary(self) -> Summary:
        columns = ["", "bits", "TFLite, %", "- plain", "weights", "MACs", "TFLite, bytes", "packed"]
        columns += ["A7 instr.", "A75 instr.", "its paper"]
        tuned, seeds = self.retraining_epochs, len(self.seeds)
        trained = f"float {mean_text(self.float_accuracy)} %"
        title = f"{self.start} ({trained}), then {tuned} for each row; mean of {seeds} seed(s)"
        failed = [f"failed  {name}: {line}" for name, line in self.failures.items()]
        refused = [f"not for it  {', '.join(names)}: {reason}" for reason, names in self.refusals.items()]
        shown = table(title, columns, [self._cells(row) for row in self.rows], right=set(range(1, 10)))
        return (shown, *refused, *failed)

    @property
    def refusals(self) -> dict[str, list[str]]:
        """The rows that are not for the network, by the reason."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.refused:
                found.setdefault(row.refused, []).append(row.name)
        return found

    def _cells(self, row: CompressionRow) -> list[str]:
        first = self.rows[0]
        if row.refused:
            return [row.name, str(row.bits), "not for it", *[""] * 7, row.paper]
        cells = [row.name, str(row.bits), mean_text(row.tflite), points_text(self.to_plain(row))]
        pairs = [(row.weights, first.weights), (row.macs, first.macs), (row.tflite_bytes, first.tflite_bytes)]
        pairs += [(row.packed_bytes, first.packed_bytes), *zip(row.instructions, first.instructions, strict=True)]
        return [*cells, *(_with_ratio(value, plain, row is first) for value, plain in pairs), row.paper]

    def to_dict(self) -> dict[str, Any]:
        """All figures of all seeds; those of failed runs are null, what was not counted is 0."""
        result = dataclasses.asdict(self)
        result["float_accuracy"] = nulls(self.float_accuracy)
        for row, found in zip(result["rows"], self.rows, strict=True):
            row["instructions"] = found.instructions._asdict()
            row["tflite"] = nulls(found.tflite)
            row["to_plain"] = nulls([round(self.to_plain(found), 4)])[0]
        return result


def _with_ratio(value: int, plain: int, first: bool) -> str:
    """A figure; beside it what share of the plain build's it is, where that is another."""
    if not value:
        return ""
    return f"{value:,}" if first or not plain else f"{value:,} (x{value / plain:.2f})"
