"""Cycles of a block against what a hand adds up, and bounds that hold for any block."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.bench.block_cost import CostTable
from edgeq.bench.instructions import Instruction
from edgeq.cost_table import Cost, InstructionClass, Pairs, Pipeline

PIPES = {"any": ("v0", "v1"), "first": ("v0",), "memory": ("l0",)}
OUT_OF_ORDER = Pipeline(3, in_order=False, source="made up", pipes=PIPES)
IN_ORDER = Pipeline(2, in_order=True, source="made up")


def instruction(form: str, kind: InstructionClass = "other") -> Instruction:
    return Instruction(form, "", kind, 0, 0, form)


def cost(form: str, *cycles: float, pipe: str = "", pairs: Pairs = "no") -> Cost:
    return Cost((form,), cycles, "made up", pipe, pairs)


def cycles(pipeline: Pipeline, costs: list[Cost], forms: str, bound: Any = "high") -> float:
    return CostTable(pipeline, costs, bound).cycles([instruction(form) for form in forms])


TABLE = [cost("a", 0.5, pipe="any"), cost("f", 1.0, pipe="first"), cost("l", 0.5, 1.0, pipe="memory"), cost("n", 1.0)]


@pytest.mark.parametrize(
    ("forms", "low", "high"),
    [
        ("", 0, 0),
        ("aaaa", 2, 2),  # two units take two each
        ("ffff", 4, 4),  # one unit takes all
        ("ffaaaa", 3, 3),  # "first" is busy for 2 of 3 cycles; both units are for all 3
        ("ffffaa", 4, 4),  # the other unit takes the two while "first" is busy
        ("llll", 2, 4),  # the interval
        ("llllaaaa", 8 / 3, 4),  # at best the width of three decides
        ("nnnnnn", 2, 2),  # no pipe: the width alone
    ],
)
def test_out_of_order_is_the_busiest_unit_or_the_width(forms: str, low: float, high: float) -> None:
    assert cycles(OUT_OF_ORDER, TABLE, forms, "low") == pytest.approx(low)
    assert cycles(OUT_OF_ORDER, TABLE, forms, "high") == pytest.approx(high)


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ("vvv", 12),  # alone, four cycles each
        ("eeee", 2),  # in pairs
        ("eee", 2),
        ("oo", 2),  # neither can be the younger
        ("oe", 1),
        ("eo", 2),  # the younger must be "either"
        ("oeoe", 2),
        ("ve", 5),  # nothing goes beside one that does not pair
        ("oee", 2),
    ],
)
def test_in_order_pairs_neighbours_only(forms: str, expected: float) -> None:
    table = [cost("v", 4.0), cost("e", 1.0, pairs="either"), cost("o", 1.0, pairs="older")]
    assert cycles(IN_ORDER, table, forms) == pytest.approx(expected)


@given(st.text("afln", max_size=30))
def test_out_of_order_lies_between_its_bounds(forms: str) -> None:
    low, high = (cycles(OUT_OF_ORDER, TABLE, forms, bound) for bound in ("low", "high"))
    serial = sum({"a": 0.5, "f": 1.0, "l": 1.0, "n": 1.0}[form] for form in forms)
    assert len(forms) / 3 <= low + 1e-9
    assert low <= high + 1e-9
    assert high <= serial + 1e-9
    assert cycles(OUT_OF_ORDER, TABLE, forms * 2) == pytest.approx(2 * high)


def test_a_named_form_goes_before_a_pattern_and_that_before_a_class() -> None:
    rows = [("class:neon", 3.0), ("add.*", 2.0), ("add.4s", 1.0)]
    table = CostTable(IN_ORDER, [cost(form, value) for form, value in rows], "low")
    found = {form: table.cycles([instruction(form, "neon")]) for form in ("add.4s", "add.8h", "sub.4s")}
    assert found == {"add.4s": 1, "add.8h": 2, "sub.4s": 3}
