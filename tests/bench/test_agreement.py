from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq.bench.agreement import check_agreement, compare_outputs
from edgeq.bench.reference import OperationRun, Reference
from edgeq.bench.result import Agreement
from edgeq.bench.split import SingleOperation
from edgeq.errors import VerifyError
from edgeq.tflite.model import Graph

EMPTY = Graph((), (), (), ())


def make(output: np.ndarray, *parts: np.ndarray) -> Reference:
    operations = tuple(
        OperationRun(SingleOperation(i, "ADD", f"sum{i}", EMPTY), [], [part]) for i, part in enumerate(parts)
    )
    return Reference(Path("m"), "", EMPTY, [np.zeros((len(output), 1), np.int8)], [output], operations, False)


def test_the_worst_operation_is_named() -> None:
    whole = np.array([[1, 2], [3, -128]], np.int8)
    reference = make(whole, np.array([[5]], np.int8), np.array([[7]], np.int8))
    found = compare_outputs(
        reference, [[np.array([[1, 2], [3, 127]], np.int8)], [np.array([[6]], np.int8)], [np.array([[3]], np.int8)]]
    )
    assert found == Agreement(2, False, "codes", False, 255.0, 4.0, "ADD sum1", ("ADD",))
    assert compare_outputs(reference, [[whole]]) == Agreement(2, False, "codes", True, 0.0, None)


def test_floats_are_compared_with_their_largest_value() -> None:
    found = compare_outputs(make(np.array([[-4.0, 1.0]], np.float32)), [[np.array([[-4.0, 1.02]], np.float32)]])
    assert (found.unit, found.equal) == ("relative", False)
    assert found.difference == pytest.approx(0.005)


def test_other_bytes_where_they_must_be_equal_are_an_error() -> None:
    off = Agreement(2, True, "codes", False, 3.0, 1.0, "CONV_2D first")
    with pytest.raises(VerifyError, match=r"litert on cortex-a75, CONV_2D first: other bytes.*got 3 codes apart"):
        check_agreement(off, "litert on cortex-a75", exact=True)
    check_agreement(off, "tflite-runtime on cortex-a7", exact=False)


def test_a_tie_may_fall_to_the_other_side_on_arm() -> None:
    check_agreement(Agreement(2, True, "codes", False, 2.0, 1.0, "MEAN a", ("MEAN", "SOFTMAX")), "there", exact=True)
    with pytest.raises(VerifyError, match="other bytes"):
        check_agreement(Agreement(2, True, "codes", False, 2.0, 1.0, "MEAN a", ("ADD", "MEAN")), "there", exact=True)
    with pytest.raises(VerifyError, match="is off"):
        check_agreement(Agreement(2, True, "codes", False, 2.0, 2.0, "MEAN a", ("MEAN",)), "there", exact=True)


def test_two_codes_at_an_operation_are_an_error_everywhere() -> None:
    off = Agreement(2, True, "codes", False, 1.0, 2.0, "ADD sum")
    with pytest.raises(VerifyError, match=r"ADD sum: an operation is off \(got 2 codes, wanted at most 1\)"):
        check_agreement(off, "there", exact=False)


def test_float_files_may_round_differently() -> None:
    check_agreement(Agreement(2, False, "relative", False, 1e-5, 9e-4, "a"), "there", exact=True)
    with pytest.raises(VerifyError, match=r"an operation is off \(got 0\.002 relative"):
        check_agreement(Agreement(2, False, "relative", False, 1e-5, 2e-3, "a"), "there", exact=True)
