"""Made-up results of an emulation, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.bench.estimate import Estimate
from edgeq.bench.instructions import Counts
from edgeq.bench.kernels import KernelShare
from edgeq.bench.result import Agreement, EmulatedLane, Emulation, OperationCount

__all__ = ["counts", "emulation", "estimated", "lane", "operation"]


def counts(total: int) -> Counts:
    classes = {"mac": total // 2, "neon": 0, "load": 0, "store": 0, "branch": 0, "other": total - total // 2}
    return Counts(classes, total, 16 * (total // 2), 0, 0, {"sdot.q": total // 2}, 0)  # type: ignore[arg-type]


def estimated(mid_ms: float) -> Estimate:
    return Estimate(mid_ms / 2, mid_ms, 2 * mid_ms, mid_ms, 0.0, None, None, None, 1, 1e9, 1.0, 0, None, "made up")


def operation(
    kind: str, total: int, *, macs: int = 0, name: str = "", ms: float = 1.0, size: int = 100, index: int = 0
) -> OperationCount:
    return OperationCount(index, kind, name or kind.lower(), macs, size, counts(total), "kernel", estimated(ms), None)


def lane(
    operations: Sequence[OperationCount] = (),
    *,
    total: int = 1000,
    name: str = "litert",
    exact: bool = True,
    agreement: Agreement | None = None,
    macs_by_form: dict[str, int] | None = None,
) -> EmulatedLane:
    return EmulatedLane(
        lane=name,
        about=name,
        exact=exact,
        repeats=exact,
        agreement=agreement or Agreement(2, False, "codes", True, 0.0, ()),
        macs=sum(row.macs for row in operations),
        counts=counts(total),
        macs_by_form=macs_by_form or {"sdot.q": 16},
        kernels=(KernelShare("kernel", 0.9),),
        operations=tuple(operations),
        estimate=estimated(1.0),
    )


def emulation(*lanes: EmulatedLane, target: str = "cortex-a75") -> Emulation:
    return Emulation(target, "model.tflite", "0" * 64, lanes)
