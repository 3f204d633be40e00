"""How many cycles a block of instructions keeps a core busy, by its target's cost table. No caches, no memory.

In order: instructions begin one after the other, two in a cycle where the table lets them pair. Out of order: the block
takes as long as the busiest of its pipes, or as its instructions need to get in. In neither does one wait for another's
result.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from edgeq.bench.instructions import Instruction
from edgeq.cost_table import Cost, Pipeline, find_cost

__all__ = ["CostTable"]


class CostTable:
    """A target's costs, made ready for looking up.

    Args:
        pipeline, costs: of a :class:`edgeq.targets.Target`.
        bound: which end of their intervals counts.
    """

    def __init__(self, pipeline: Pipeline, costs: Sequence[Cost], bound: Literal["low", "high"]) -> None:
        self.pipeline = pipeline
        self._costs = tuple(costs)
        self._end = 0 if bound == "low" else -1
        self._groups = _unions(pipeline.pipes)
        self._found: dict[tuple[str, str], Cost] = {}

    def cycles(self, block: Sequence[Instruction]) -> float:
        """Cycles of one pass through a block."""
        return self._in_order(block) if self.pipeline.in_order else self._out_of_order(block)

    def _find(self, instruction: Instruction) -> Cost:
        key = instruction.form, instruction.instruction_class
        if key not in self._found:
            self._found[key] = find_cost(self._costs, *key)
        return self._found[key]

    def _in_order(self, block: Sequence[Instruction]) -> float:
        """Add up issue cycles; a second instruction joins the cycle of a first where both may pair."""
        total = 0.0
        older_waits = False
        for instruction in block:
            cost = self._find(instruction)
            if older_waits and cost.pairs == "either":
                older_waits = False
                continue
            total += cost.cycles[self._end]
            older_waits = cost.pairs != "no" and self.pipeline.issue_width > 1
        return total

    def _out_of_order(self, block: Sequence[Instruction]) -> float:
        busy = dict.fromkeys(self.pipeline.pipes, 0.0)
        for instruction in block:
            cost = self._find(instruction)
            if cost.pipe:
                busy[cost.pipe] += cost.cycles[self._end] * len(self.pipeline.pipes[cost.pipe])
        longest = len(block) / self.pipeline.issue_width
        for names, units in self._groups:
            longest = max(longest, sum(busy[name] for name in names) / units)
        return longest


def _unions(pipes: Mapping[str, tuple[str, ...]]) -> list[tuple[tuple[str, ...], int]]:
    """For each set of units that some pipes make up together: the pipes inside it, and how many units it has.

    Work that may go to some units only takes at least its sum over such a set's units, and the largest of these bounds
    can be reached (Hall's theorem, for work that can be divided).
    """
    unions = {frozenset(units) for units in pipes.values()}
    for first, second in itertools.combinations(list(unions), 2):
        unions.add(first | second)
    return [(tuple(name for name, units in pipes.items() if set(units) <= union), len(union)) for union in unions]
