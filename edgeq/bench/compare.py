"""Two artifacts of one network side by side: which operation costs more, and how much."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.bench.result import EmulatedLane, OperationCount

__all__ = ["Pair", "compare_lanes", "costliest"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An operation in both files, or in one.

    Attributes:
        first, second: the operation in each; None where the file has no such one.
        instructions: how many more the second executes, negative for fewer.
    """

    first: OperationCount | None
    second: OperationCount | None

    @property
    def instructions(self) -> int:
        return (self.second.counts.total if self.second else 0) - (self.first.counts.total if self.first else 0)

    @property
    def name(self) -> str:
        """Kind and output of the operation, of the first file where it has it."""
        row = self.first or self.second
        assert row is not None
        return f"{row.kind} {row.name}"


def compare_lanes(first: EmulatedLane, second: EmulatedLane) -> list[Pair]:
    """Match the operations of two files, in order, by kind and work; what has no counterpart stands alone.

    Both must have been counted operation by operation on the same lane.
    """
    a_keys, b_keys = ([(row.kind, row.macs) for row in lane.operations] for lane in (first, second))
    matcher = difflib.SequenceMatcher(None, a_keys, b_keys, autojunk=False)
    pairs: list[Pair] = []
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            pairs += [Pair(x, y) for x, y in zip(first.operations[a:a_end], second.operations[b:b_end], strict=True)]
        else:
            pairs += [Pair(row, None) for row in first.operations[a:a_end]]
            pairs += [Pair(None, row) for row in second.operations[b:b_end]]
    return pairs


def costliest(pairs: Sequence[Pair]) -> Pair | None:
    """The pair whose instructions differ most; None where all are equal."""
    worst = max(pairs, key=lambda pair: abs(pair.instructions), default=None)
    return worst if worst is not None and worst.instructions else None
