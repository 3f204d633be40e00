"""Random graphs of all operations: each layer within one code in onnxruntime and both kernels of LiteRT."""

from __future__ import annotations

import pytest
from graph_check import check, mismatches
from graph_rows import ROWS
from hypothesis import HealthCheck, Phase, given, settings
from random_graphs import Drawn, Row, graphs

from edgeq.export.decompose import DECOMPOSED
from edgeq.tflite.ops import OPERATIONS

few = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # `make fuzz` shrinks
    suppress_health_check=list(HealthCheck),
)


def test_every_operation_is_drawn() -> None:
    assert {row.onnx for row in ROWS} == set(OPERATIONS) | set(DECOMPOSED) | {"BatchNormalization"}
    assert len({row.onnx for row in ROWS}) == len(ROWS)


@given(drawn=graphs(ROWS))
@settings(few, max_examples=80)
def test_random_graphs_agree_in_three_runtimes(drawn: Drawn) -> None:
    assert not mismatches(check(drawn))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_operation_agrees_alone(row: Row) -> None:
    @given(drawn=graphs([row], most=1, foreign=False))
    @settings(few, max_examples=3)
    def agree(drawn: Drawn) -> None:
        assert not mismatches(check(drawn))

    agree()
