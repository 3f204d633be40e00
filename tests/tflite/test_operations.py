from __future__ import annotations

import pytest
from int8_models import assert_int8_is_right, float_proto
from operation_cases import CASES, Case

from edgeq.export.decompose import DECOMPOSED
from edgeq.tflite.ops import OPERATIONS


def test_every_row_of_the_table_has_a_case() -> None:
    assert {case.row for case in CASES} == set(OPERATIONS) | set(DECOMPOSED)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: Case) -> None:
    proto = float_proto(case.body, case.constants, case.inputs, case.outputs)
    assert_int8_is_right(proto, case.becomes, steep=case.steep)
