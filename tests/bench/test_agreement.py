from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq.bench.agreement import check_agreement, compare_outputs, first_differing
from edgeq.bench.reference import Arrays, OperationRun, Reference
from edgeq.bench.result import Agreement, OperationGap, Unit
from edgeq.bench.split import SingleOperation
from edgeq.errors import VerifyError
from edgeq.tflite.model import Graph

EMPTY = Graph((), (), (), ())


def make(output: np.ndarray, *parts: np.ndarray) -> Reference:
    operations = tuple(
        OperationRun(SingleOperation(i, "ADD", f"sum{i}", EMPTY), [], [part]) for i, part in enumerate(parts)
    )
    return Reference(Path("m"), "", EMPTY, [np.zeros((len(output), 1), np.int8)], [output], operations, False)


def off(kind: str, difference: float, unit: Unit = "codes") -> OperationGap:
    return OperationGap(kind, kind.lower(), difference, unit)


def test_operations_that_differ_are_listed() -> None:
    whole = np.array([[1, 2], [3, -128]], np.int8)
    reference = make(whole, np.array([[5]], np.int8), np.array([[1.0]], np.float32), np.array([[7]], np.int8))
    outputs: list[Arrays] = [
        [np.array([[1, 2], [3, 127]], np.int8)],
        [np.array([[6]], np.int8)],
        [np.array([[1.0]], np.float32)],
        [np.array([[3]], np.int8)],
    ]
    found = compare_outputs(reference, outputs)
    gaps = (OperationGap("ADD", "sum0", 1.0, "codes"), OperationGap("ADD", "sum2", 4.0, "codes"))
    assert found == Agreement(2, False, "codes", False, 255.0, gaps)
    assert compare_outputs(reference, [[whole]]) == Agreement(2, False, "codes", True, 0.0, None)


def test_the_first_sample_that_differs_is_found() -> None:
    wanted = np.array([[1, 2], [3, 4], [5, 6]], np.int8)
    reference = make(wanted)
    assert first_differing(reference, [np.array([[1, 2], [3, 5], [0, 6]], np.int8)]) == 1
    assert first_differing(reference, [wanted]) == 0


def test_floats_are_compared_with_their_largest_value() -> None:
    found = compare_outputs(make(np.array([[-4.0, 1.0]], np.float32)), [[np.array([[-4.0, 1.02]], np.float32)]])
    assert (found.unit, found.equal) == ("relative", False)
    assert found.difference == pytest.approx(0.005)


def test_a_nan_that_the_host_has_not_is_no_agreement() -> None:
    nan = float("nan")
    wanted = np.array([[-4.0, nan]], np.float32)
    assert compare_outputs(make(wanted, wanted), [[wanted], [wanted]]).difference == 0
    found = compare_outputs(make(np.ones((1, 2), np.float32)), [[np.array([[1.0, nan]], np.float32)]])
    assert (found.equal, found.difference) == (False, float("inf"))


def test_other_bytes_where_they_must_be_equal_are_an_error() -> None:
    found = Agreement(2, True, "codes", False, 3.0, ())
    with pytest.raises(VerifyError, match=r"litert on cortex-a75: other bytes.*got 3 codes apart"):
        check_agreement(found, "litert on cortex-a75", exact=True)
    check_agreement(found, "tflite-runtime on cortex-a7", exact=False)


def test_the_first_operation_that_is_off_is_named() -> None:
    gaps = (off("SOFTMAX", 1), off("CONV_2D", 1), off("ADD", 9))
    with pytest.raises(VerifyError, match=r"there, CONV_2D conv_2d: an operation is off \(got 1 codes, wanted equal"):
        check_agreement(Agreement(2, True, "codes", False, 1.0, gaps), "there", exact=True)
    with pytest.raises(VerifyError, match=r"there, ADD add: an operation is off \(got 9 codes, wanted at most 1"):
        check_agreement(Agreement(2, True, "codes", False, 1.0, gaps), "there", exact=False)


def test_a_tie_may_fall_to_the_other_side_on_arm_by_one_code() -> None:
    ties = (off("MEAN", 1), off("SOFTMAX", 1))
    check_agreement(Agreement(2, True, "codes", False, 1.0, ties), "there", exact=True)
    with pytest.raises(VerifyError, match="other bytes"):
        check_agreement(Agreement(2, True, "codes", False, 2.0, ties), "there", exact=True)
    with pytest.raises(VerifyError, match="other bytes"):  # operations were compared, and none was a tie
        check_agreement(Agreement(2, True, "codes", False, 1.0, (), may_tie=True), "there", exact=True)
    with pytest.raises(VerifyError, match=r"is off \(got 2 codes"):
        check_agreement(Agreement(2, True, "codes", False, 1.0, (off("MEAN", 2),)), "there", exact=True)


def test_where_operations_were_not_compared_a_possible_tie_counts() -> None:
    check_agreement(Agreement(2, True, "codes", False, 1.0, None, may_tie=True), "there", exact=True)
    with pytest.raises(VerifyError, match="other bytes"):
        check_agreement(Agreement(2, True, "codes", False, 1.0, None), "there", exact=True)


def test_floats_may_round_differently_but_not_much() -> None:
    gaps = (off("CONV_2D", 9e-4, "relative"),)
    check_agreement(Agreement(2, False, "relative", False, 1e-5, gaps), "there", exact=True)
    with pytest.raises(VerifyError, match=r"an operation is off \(got 0\.002 relative"):
        check_agreement(Agreement(2, False, "relative", False, 0, (off("ADD", 2e-3, "relative"),)), "a", exact=True)
    for wrong in (2e-3, float("inf"), float("nan")):
        with pytest.raises(VerifyError, match="the outputs are off"):
            check_agreement(Agreement(2, False, "relative", False, wrong), "there", exact=True)


def test_a_file_with_float_ends_is_still_judged_in_codes_inside() -> None:
    gaps = (off("CONV_2D", 1),)
    check_agreement(Agreement(2, False, "relative", False, 1e-5, gaps), "there", exact=False)
    with pytest.raises(VerifyError, match="wanted equal codes"):
        check_agreement(Agreement(2, False, "relative", False, 1e-5, gaps), "there", exact=True)
