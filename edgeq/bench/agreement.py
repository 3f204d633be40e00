"""Whether a device computes what the host does: compared in bytes and in codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.bench.reference import Arrays, Reference
from edgeq.bench.result import Agreement, OperationGap, Unit
from edgeq.errors import VerifyError

__all__ = ["check_agreement", "compare_outputs", "first_differing"]

FLOAT_TOLERANCE = 1e-3
# XNNPACK and LiteRT round these on ARM in another way than on x86 where a result lies exactly between two codes; seen
# on random grids, never more than one code.
TIES = frozenset({"MEAN", "MUL", "SOFTMAX"})


def compare_outputs(reference: Reference, outputs: Sequence[Arrays]) -> Agreement:
    """How far a device is from the host.

    Args:
        reference: what the host computed.
        outputs: of the whole file for all samples; then, if they were run, of each operation alone.
    """
    whole, *parts = outputs
    gaps = []
    for part, found in zip(reference.operations if parts else (), parts, strict=True):
        if apart := _difference(found, part.outputs):
            gaps.append(OperationGap(part.operation.kind, part.operation.name, apart, _unit(part.outputs)))
    return Agreement(
        samples=len(reference.inputs[0]),
        golden=reference.golden,
        unit=_unit(reference.outputs),
        equal=all(np.array_equal(found, wanted) for found, wanted in zip(whole, reference.outputs, strict=True)),
        difference=_difference(whole, reference.outputs),
        gaps=tuple(gaps) if parts else None,
        may_tie=any(operator.kind in TIES for operator in reference.graph.operators),
    )


def first_differing(reference: Reference, outputs: Arrays) -> int:
    """The first sample, counted from 0, of which some output is not the host's; 0 where there is none."""
    count = len(reference.inputs[0])
    for sample in range(count):
        for found, wanted in zip(outputs, reference.outputs, strict=True):
            rows = len(wanted) // count
            if not np.array_equal(found[sample * rows : (sample + 1) * rows], wanted[sample * rows :][:rows]):
                return sample
    return 0


def check_agreement(agreement: Agreement, where: str, *, exact: bool) -> None:
    """Raise unless a device computes what the host does.

    Operations: equal codes, but for one code at a mean, product or softmax, which ARM rounds in another way at exact
    ties, and, where a runtime has kernels of its own, at every operation; floats within 0.1 % of the largest value, for
    kernels add up in their order. The file's outputs: equal bytes if the kernels are the host's, one code where an
    operation may have been a tie; floats as above.

    Args:
        agreement: of :func:`compare_outputs`.
        where: the runtime and device, for the message.
        exact: whether the runtime's kernels are the host's.

    Raises:
        VerifyError: it does not; the message names the first operation that is off, where operations were run.
    """
    for gap in agreement.gaps or ():
        limit = FLOAT_TOLERANCE if gap.unit == "relative" else 0 if exact and gap.kind not in TIES else 1
        if gap.difference > limit:
            got, wanted = f"{gap.difference:g} {gap.unit}", f"at most {limit:g}" if limit else "equal codes"
            raise VerifyError("an operation is off", where=f"{where}, {gap.kind} {gap.name}", got=got, wanted=wanted)
    if agreement.unit == "relative":
        if not agreement.difference <= FLOAT_TOLERANCE:
            got = f"{agreement.difference:g} relative"
            raise VerifyError("the outputs are off", where=where, got=got, wanted=f"at most {FLOAT_TOLERANCE:g}")
        return
    tied = agreement.may_tie if agreement.gaps is None else bool(agreement.gaps)
    if exact and not agreement.equal and not (tied and agreement.difference <= 1):
        got = f"{agreement.difference:g} codes apart"
        raise VerifyError("other bytes than LiteRT gives on the host", where=where, got=got, wanted="equal bytes")


def _unit(arrays: Sequence[NDArray[Any]]) -> Unit:
    return "codes" if all(_is_integer(array) for array in arrays) else "relative"


def _difference(found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> float:
    """In codes; for floats over the largest value wanted."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        x, y = a.astype(np.float64), b.astype(np.float64)
        off = (x != y) & ~(np.isnan(x) & np.isnan(y))
        if off.any():
            unit = 1.0 if _is_integer(b) else max(float(np.abs(y).max()), 1e-30)
            apart = float(np.abs(x[off] - y[off]).max()) / unit
            worst = max(worst, math.inf if math.isnan(apart) else apart)  # max() itself drops a NaN
    return worst


def _is_integer(array: NDArray[Any]) -> bool:
    return bool(np.issubdtype(array.dtype, np.integer))
