"""The roofline of an emulated lane: each operation's work a byte against its speed, with the target's two limits.

Source: Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model", CACM 52(4).
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from edgeq.bench.result import EmulatedLane
from edgeq.errors import RecipeError
from edgeq.targets import Target

__all__ = ["Roofline", "RooflinePoint", "core_peak", "draw_roofline", "make_roofline"]

WIDTH, HEIGHT = 360, 280  # a phone's width: its text is read there, and is larger elsewhere
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 40, 40
TITLE_CHARACTERS, TITLE_HEIGHT = 50, 20  # a line's; of what an untitled drawing leaves away


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One operation under the roofline.

    Attributes:
        name: kind and output.
        macs_per_byte: multiply-accumulates by its shapes, over the bytes of its tensors, each counted once.
        macs_per_s: at the middle of its estimate.
        time_share: of the sum of all operations.
        peak_share: of the target's peak on one core.
    """

    name: str
    macs_per_byte: float
    macs_per_s: float
    time_share: float
    peak_share: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """The limits of one core, and the operations under them.

    Attributes:
        title: lane and target.
        peak_macs_per_s: of one core, by the instruction the file's type is computed with; the upper bound where the
            target leaves its throughput open.
        bytes_per_s: to memory; 0 where the target says nothing.
        points: the operations that multiply.
    """

    title: str
    peak_macs_per_s: float
    bytes_per_s: float
    points: tuple[RooflinePoint, ...]


def make_roofline(lane: EmulatedLane, target: Target) -> Roofline:
    """Place the operations of a lane.

    Raises:
        RecipeError: the target has no cost table, or no peak for what the file computes with.
    """
    peak = core_peak(lane.macs_by_form, target)
    if target.pipeline is None or peak is None:
        raise RecipeError("no roofline without a cost table and a peak", where=f"target {target.name}")
    times = [row.estimate.mid_ms if row.estimate else 0.0 for row in lane.operations]
    total = sum(times) or 1.0
    points = tuple(
        RooflinePoint(
            name=f"{row.kind} {row.name}",
            macs_per_byte=row.macs / row.bytes,
            macs_per_s=row.macs / (ms / 1000),
            time_share=ms / total,
            peak_share=row.macs / (ms / 1000) / peak,
        )
        for row, ms in zip(lane.operations, times, strict=True)
        if row.macs and row.bytes and ms
    )
    bandwidth = target.bandwidth_bytes_per_s
    middle = math.sqrt(bandwidth[0] * bandwidth[-1]) if bandwidth else 0.0
    return Roofline(f"{lane.about} on one {target.name} core", peak, middle, points)


def core_peak(macs_by_form: Mapping[str, int], target: Target) -> float | None:
    """Multiply-accumulates a second that one core can do at most, for the type that most of a file's are of.

    The upper bound where the target leaves an instruction's throughput open; None where it has no figure.
    """
    most = next(iter(macs_by_form), "")
    floats = most.startswith(("fmla", "vmla.f", "vfma"))
    keys = ("fp32",) if floats else ("int8_dot", "int8")
    instruction = next((target.instructions[key] for key in keys if key in target.instructions), None)
    if instruction is None or target.clock_hz is None:
        return None
    fastest = instruction.reciprocal_throughput_low or instruction.reciprocal_throughput
    return target.clock_hz / fastest * instruction.lanes


def draw_roofline(roofline: Roofline, *, titled: bool = True) -> str:
    """One self-contained SVG with logarithmic axes; its ink follows the page's colour.

    Args:
        roofline: the limits and the operations.
        titled: write the title above the drawing, for a file of its own.
    """
    xs = [point.macs_per_byte for point in roofline.points] or [1.0]
    ys = [point.macs_per_s for point in roofline.points] or [roofline.peak_macs_per_s]
    ridge = roofline.peak_macs_per_s / roofline.bytes_per_s if roofline.bytes_per_s else 0.0
    x_span = (_decade_below(min([*xs, ridge or xs[0]])), _decade_above(max([*xs, ridge])))
    y_span = (_decade_below(min(ys)), _decade_above(roofline.peak_macs_per_s))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (math.log10(x) - x_span[0]) / (x_span[1] - x_span[0]) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (math.log10(y) - y_span[0]) / (y_span[1] - y_span[0]) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    above = 0 if titled else TITLE_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {above} {WIDTH} {HEIGHT - above}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="currentColor">',
        f"<title>{html.escape(roofline.title)}: roofline, estimated</title>",
    ]
    if titled:
        for index, line in enumerate(textwrap.wrap(f"{roofline.title}, estimated", TITLE_CHARACTERS)[:2]):
            parts.append(f'<text x="{LEFT}" y="{15 + 15 * index}" font-size="12">{html.escape(line)}</text>')
    bottom, top = 10.0 ** y_span[0], 10.0 ** y_span[1]
    for power in range(x_span[0], x_span[1] + 1):
        x, y = place(10.0**power, bottom)
        parts.append(f'<path d="M{x:g} {TOP}V{y:g}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(f'<text x="{x:g}" y="{y + 16:g}" text-anchor="middle">{10.0**power:g}</text>')
    for power in range(y_span[0], y_span[1] + 1):
        x, y = place(10.0 ** x_span[0], 10.0**power)
        parts.append(f'<path d="M{x:g} {y:g}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(f'<text x="{x - 6:g}" y="{y + 4:g}" text-anchor="end">{10.0 ** (power - 9):g}</text>')
    left = 10.0 ** x_span[0]
    roof = f"M{'{:g} {:g}'.format(*place(max(left, ridge), roofline.peak_macs_per_s))}H{WIDTH - RIGHT}"
    if roofline.bytes_per_s:
        start = max(left, bottom / roofline.bytes_per_s)
        slope = place(start, start * roofline.bytes_per_s)
        roof = f"M{slope[0]:g} {slope[1]:g}L" + roof[1:]
    parts.append(f'<path d="{roof}" fill="none" stroke="currentColor" stroke-width="2"/>')
    height = place(left, roofline.peak_macs_per_s)[1]
    words = f"{roofline.peak_macs_per_s / 1e9:.3g} GMAC/s"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{height - 5:g}" text-anchor="end">{words}</text>')
    if roofline.bytes_per_s and start < ridge:
        across, down = place(math.sqrt(start * ridge), math.sqrt(start * ridge) * roofline.bytes_per_s)
        words = f"{roofline.bytes_per_s / 1e9:.3g} GB/s"
        parts.append(f'<text x="{max(across - 6, LEFT + 60):g}" y="{down - 4:g}" text-anchor="end">{words}</text>')
    for point in roofline.points:
        x, y = place(point.macs_per_byte, min(max(point.macs_per_s, bottom), top))
        radius = 3 + 14 * math.sqrt(point.time_share)
        label = (
            f"{point.name}: {point.macs_per_s / 1e9:.3g} GMAC/s, {100 * point.peak_share:.0f} % of the peak, "
            f"{100 * point.time_share:.1f} % of the time"
        )
        parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:.1f}" fill="#3b7dd8" fill-opacity=".45" stroke="#3b7dd8">'
            f"<title>{html.escape(label)}</title></circle>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:g}" y="{HEIGHT - 10}" text-anchor="middle">multiply-accumulates a byte</text>')
    centre = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="16" y="{centre:g}" text-anchor="middle" transform="rotate(-90 16 {centre:g})">'
        "GMAC/s, one core</text>"
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _decade_below(value: float) -> int:
    return math.floor(math.log10(value))


def _decade_above(value: float) -> int:
    return max(math.ceil(math.log10(value)), math.floor(math.log10(value)) + 1)
