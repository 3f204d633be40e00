"""From the results of ``edgeq bench`` to what the page draws of them."""

from __future__ import annotations

from edgeq.bench.result import EmulatedLane
from edgeq.bench.roofline import draw_roofline, make_roofline
from edgeq.errors import RecipeError
from edgeq.report.content import BenchedLane, OperationTime
from edgeq.targets import load_target

__all__ = ["benched_lane"]


def benched_lane(lane: EmulatedLane, target: str) -> BenchedLane:
    """A runtime's operations with their times, and its roofline where edgeq knows the device."""
    try:
        drawing = draw_roofline(make_roofline(lane, load_target(target)), titled=False)
    except RecipeError:  # a target of one's own has its limits in a file that is not here
        drawing = ""
    return BenchedLane(
        title=f"{lane.about} on one {target} core",
        roofline=drawing,
        operations=tuple(
            OperationTime(row.kind, row.name, row.macs, row.bytes, row.estimate.mid_ms, row.peak_share)
            for row in lane.operations
            if row.estimate is not None
        ),
    )
