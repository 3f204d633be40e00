from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest
from bench_results import lane, operation

from edgeq.bench.result import EmulatedLane
from edgeq.bench.roofline import draw_roofline, make_roofline
from edgeq.errors import RecipeError
from edgeq.targets import Target, load_target


@pytest.fixture
def target() -> Target:
    return load_target("cortex-a75")


@pytest.fixture
def counted() -> EmulatedLane:
    return lane(
        [
            operation("CONV_2D", 500, macs=3_000_000, name="first <&>", ms=0.3, size=30_000),
            operation("ADD", 50, ms=0.1),
            operation("CONV_2D", 500, macs=1_000_000, name="second", ms=0.6, size=1000),
        ]
    )


def test_places_and_shares(target: Target, counted: EmulatedLane) -> None:
    roofline = make_roofline(counted, target)
    dot = target.instructions["int8_dot"]
    assert target.clock_hz is not None
    fastest = dot.reciprocal_throughput_low or dot.reciprocal_throughput
    assert roofline.peak_macs_per_s == pytest.approx(target.clock_hz * dot.lanes / fastest)
    first, second = roofline.points  # ADD multiplies nothing
    assert (first.macs_per_byte, first.macs_per_s) == pytest.approx((100, 1e10))
    assert (first.time_share, second.time_share) == pytest.approx((0.3, 0.6))
    assert second.peak_share == pytest.approx(1e6 / 0.6e-3 / roofline.peak_macs_per_s)


def test_float_lanes_have_the_float_peak(target: Target, counted: EmulatedLane) -> None:
    floats = dataclasses.replace(counted, macs_by_form={"fmla.4s": 5, "sdot.q": 1})
    assert target.clock_hz is not None
    peak = target.clock_hz * target.instructions["fp32"].lanes / target.instructions["fp32"].reciprocal_throughput
    assert make_roofline(floats, target).peak_macs_per_s == pytest.approx(peak)


def test_the_picture_is_one_svg_with_every_point_named(target: Target, counted: EmulatedLane) -> None:
    for bandwidth in ((), (4e9, 8e9)):
        sources = target.sources | ({"bandwidth_bytes_per_s": "made up for this test"} if bandwidth else {})
        if not bandwidth:
            sources.pop("bandwidth_bytes_per_s", None)
        device = dataclasses.replace(target, bandwidth_bytes_per_s=bandwidth, sources=sources)
        root = ET.fromstring(draw_roofline(make_roofline(counted, device)))
        circles = [item for item in root.iter() if item.tag.endswith("circle")]
        assert len(circles) == 2
        assert circles[0][0].text is not None
        assert circles[0][0].text.startswith("CONV_2D first <&>: 10 GMAC/s")
        box = [float(value) for value in root.attrib["viewBox"].split()]
        assert all(0 < float(item.attrib["cx"]) < box[2] and 0 < float(item.attrib["cy"]) < box[3] for item in circles)


def test_no_cost_table_no_roofline(counted: EmulatedLane) -> None:
    with pytest.raises(RecipeError, match="no roofline without a cost table"):
        make_roofline(counted, load_target("host"))
