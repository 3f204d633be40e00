"""Whether a device computes what the host does: compared in bytes and in codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.bench.reference import Arrays, Reference
from edgeq.bench.result import Agreement
from edgeq.errors import VerifyError

__all__ = ["check_agreement", "compare_outputs"]

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
    difference, layer, inexact = 0.0, "", set()
    for part, found in zip(reference.operations if parts else (), parts, strict=True):
        apart = _difference(found, part.outputs)
        if apart:
            inexact.add(part.operation.kind)
        if apart > difference:
            difference, layer = apart, f"{part.operation.kind} {part.operation.name}"
    return Agreement(
        samples=len(reference.inputs[0]),
        golden=reference.golden,
        unit="codes" if all(_is_integer(array) for array in reference.outputs) else "relative",
        equal=all(np.array_equal(found, wanted) for found, wanted in zip(whole, reference.outputs, strict=True)),
        difference=_difference(whole, reference.outputs),
        layer_difference=difference if parts else None,
        layer=layer,
        inexact=tuple(sorted(inexact)),
    )


def check_agreement(agreement: Agreement, where: str, *, exact: bool) -> None:
    """Raise unless a device computes what the host does.

    An integer file must give the same bytes. One code is allowed at a mean, product or softmax, which ARM rounds in
    another way at exact ties, and, where a runtime has kernels of its own, at every operation. A float file must be
    within 0.1 % of its largest value at every operation, for kernels add up in their order.

    Args:
        agreement: of :func:`compare_outputs`.
        where: the runtime and device, for the message.
        exact: whether the runtime's kernels are the host's.

    Raises:
        VerifyError: it does not; the message names the operation where one is known.
    """
    where = ", ".join([where, *([agreement.layer] if agreement.layer else [])])
    ties = bool(agreement.inexact) and TIES.issuperset(agreement.inexact)
    if agreement.unit == "codes" and exact and not agreement.equal and not ties:
        got = f"{agreement.difference:g} codes apart"
        raise VerifyError("other bytes than LiteRT gives on the host", where=where, got=got, wanted="equal bytes")
    limit = 1.0 if agreement.unit == "codes" else FLOAT_TOLERANCE
    if agreement.layer_difference is not None and agreement.layer_difference > limit:
        got, wanted = f"{agreement.layer_difference:g} {agreement.unit}", f"at most {limit:g}"
        raise VerifyError("an operation is off", where=where, got=got, wanted=wanted)


def _difference(found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> float:
    """In codes; for floats over the largest value wanted."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        apart = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        worst = max(worst, apart if _is_integer(b) else apart / max(float(np.abs(b).max()), 1e-30))
    return worst


def _is_integer(array: NDArray[Any]) -> bool:
    return bool(np.issubdtype(array.dtype, np.integer))
