"""What an instruction costs a core: the tables of ``targets/*.toml`` that :mod:`edgeq.bench.estimate` adds up.

A figure is published (its source says where), fitted or assumed; the source of one that is fitted begins with
``fitted:`` and says on what, of one that is assumed with ``assumed:`` and says why.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from edgeq.errors import RecipeError

__all__ = [
    "CLASSES",
    "Basis",
    "Cost",
    "InstructionClass",
    "Pairs",
    "Pipeline",
    "basis",
    "check_costs",
    "check_interval",
    "find_cost",
]

Basis = Literal["published", "partly assumed", "fitted", "assumed"]
Pairs = Literal["no", "older", "either"]

InstructionClass = Literal["mac", "neon", "load", "store", "branch", "other"]
CLASSES: tuple[InstructionClass, ...] = get_args(InstructionClass)
"""What :mod:`edgeq.bench.instructions` counts by; a table has a row ``class:...`` for each."""

_PATTERN = frozenset("*?[")


def basis(source: str) -> Basis:
    """Whether a figure with this source is published, in part (a bound, or some of the forms), fitted or assumed."""
    head = source.split(":", 1)[0]
    if head == "fitted":
        return "fitted"
    if head == "assumed":
        return "assumed"
    return "partly assumed" if "assumed" in source else "published"


def check_interval(name: str, values: tuple[float, ...], *, least: float = 0.0) -> None:
    """One value, or a lower and an upper bound, each above ``least``.

    Raises:
        RecipeError: they are not.
    """
    if len(values) not in (1, 2) or list(values) != sorted(values):
        raise RecipeError("wants one value, or a lower and an upper bound", where=name, got=list(values))
    if not all(least < value < math.inf for value in values):
        raise RecipeError(f"must be above {least:g} and finite", where=name, got=list(values))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How a core takes instructions in.

    Attributes:
        issue_width: instructions that begin in one cycle at most.
        in_order: whether they begin in the order of the program. If so the core takes a second one only where
            :attr:`Cost.pairs` lets it; if not, issue width and pipes are the only limits.
        pipes: by name, the units that an instruction of this kind can go to, such as ``vector = ["v0", "v1"]``. Two
            names may share units.
        source: where it is from.
    """

    issue_width: int
    in_order: bool
    source: str
    pipes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.issue_width <= 16:
            raise RecipeError("out of range", where="pipeline.issue_width", got=self.issue_width, wanted="1 to 16")
        units = {unit for names in self.pipes.values() for unit in names}
        if not all(self.pipes.values()) or len(units) > 12:
            raise RecipeError("wants 1 unit or more a pipe, 12 at most in all", where="pipeline.pipes")
        if len(self.source) < 4:
            raise RecipeError("a pipeline without a source", where="pipeline.source")


@dataclass(frozen=True, slots=True)
class Cost:
    """What some forms of instruction cost.

    Attributes:
        forms: the forms of :class:`edgeq.bench.instructions.Instruction`; ``*`` stands for any text, and
            ``class:load`` for every load that no other row names.
        cycles: reciprocal throughput, from one such instruction to the next on one core; a lower and an upper bound
            where no single figure is known.
        source: where it is from.
        pipe: the key of :attr:`Pipeline.pipes`; empty where only the issue width limits it.
        pairs: in an in-order core, whether it can share its cycle: ``no``, ``older`` (a younger one may join it) or
            ``either``.
    """

    forms: tuple[str, ...]
    cycles: tuple[float, ...]
    source: str
    pipe: str = ""
    pairs: Pairs = "no"

    def __post_init__(self) -> None:
        name = f"costs of {', '.join(self.forms[:3])}"
        if not self.forms or not all(self.forms):
            raise RecipeError("a cost wants one form or more", where="costs.forms")
        check_interval(name, self.cycles)
        if len(self.source) < 4:
            raise RecipeError("a cost without a source", where=name)


def check_costs(costs: Sequence[Cost], pipeline: Pipeline | None) -> None:
    """A table is whole: a pipeline, known pipes, no form twice, and a row for each class of instruction.

    Raises:
        RecipeError: it is not.
    """
    if not costs and pipeline is None:
        return
    if pipeline is None:
        raise RecipeError("costs without a pipeline", remedy="add [pipeline] to the file")
    if not costs:
        raise RecipeError("a pipeline without costs", remedy="add [[costs]] to the file")
    seen: set[str] = set()
    for cost in costs:
        if cost.pipe and cost.pipe not in pipeline.pipes:
            known = ", ".join(sorted(pipeline.pipes)) or "none"
            raise RecipeError("unknown pipe", where=f"costs of {cost.forms[0]}", got=repr(cost.pipe), wanted=known)
        for form in cost.forms:
            if form in seen:
                raise RecipeError("two costs for one form", got=form)
            seen.add(form)
    missing = [name for name in CLASSES if f"class:{name}" not in seen]
    if missing:
        wanted = ", ".join(f"class:{name}" for name in missing)
        raise RecipeError("no cost for the rest of a class", where="costs", wanted=wanted)


def find_cost(costs: Sequence[Cost], form: str, instruction_class: str) -> Cost:
    """The row for a form: the one that names it, else the first whose pattern fits, else its class's.

    Raises:
        KeyError: the table has no such row; :func:`check_costs` sees to it that a target's table has.
    """
    for cost in costs:
        if form in cost.forms:
            return cost
    for cost in costs:
        patterns = (name for name in cost.forms if _PATTERN & set(name))
        if any(fnmatch.fnmatchcase(form, name) for name in patterns):
            return cost
    for cost in costs:
        if f"class:{instruction_class}" in cost.forms:
            return cost
    raise KeyError(form)
