"""Clocks and temperatures as /sys shows them, made of files, and what counts as throttled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgeq.bench.device_state import DeviceState, StateLimits, clock_files, read_state, throttling
from edgeq.bench.sampling import Round
from edgeq.bench.transport import open_transport, parse_via

CPU = "sys/devices/system/cpu"
FILES = {
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "600000",
    f"{CPU}/cpu10/cpufreq/scaling_cur_freq": "1800000",
    f"{CPU}/cpu2/cpufreq/scaling_cur_freq": "<unknown>",
    f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1800000",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "ondemand",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "3",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48312",
    "sys/class/thermal/thermal_zone1/temp": "-5000",
    "sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0",
    "sys/class/thermal/cooling_device0/cur_state": "2",
    "sys/class/thermal/cooling_device1/type": "pwm-fan",
    "sys/class/thermal/cooling_device1/cur_state": "4",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
}
CALM = DeviceState(
    {"0": 10**9}, {"0": 2 * 10**9}, {"0": "performance"}, {"0 cpu": 40.0}, {"0 cpufreq": 0}, {"0": 3}, ()
)


@pytest.fixture
def root(tmp_path: Path) -> str:
    for path, text in FILES.items():
        file = tmp_path / "fake sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return str(tmp_path / "fake sys")


def test_a_state_is_read(root: str) -> None:
    with open_transport(parse_via("local")) as transport:
        state = read_state(transport, root)
        clocks = clock_files(transport, (10,), root)
    assert state == DeviceState(
        clocks_hz={"0": 600_000_000, "10": 1_800_000_000},
        max_clocks_hz={"0": 1_800_000_000},
        governors={"0": "ondemand"},
        temperatures_c={"0 cpu-thermal": 48.312, "1": -5.0},
        cooling={"0 thermal-cpufreq-0": 2},
        throttle_counts={"0": 3},
        firmware=("under-voltage", "throttled"),
    )
    assert clocks == (f"{root}/{CPU}/cpu10/cpufreq/scaling_cur_freq",)


def test_a_device_that_tells_nothing_has_an_empty_state(tmp_path: Path) -> None:
    with open_transport(parse_via("local")) as transport:
        assert read_state(transport, str(tmp_path)) == DeviceState({}, {}, {}, {}, {}, {}, ())


def _rounds(*clocks_khz: dict[str, int]) -> list[Round]:
    return [Round(float(at), {path: str(value) for path, value in item.items()}) for at, item in enumerate(clocks_khz)]


def test_a_calm_device_is_not_throttled() -> None:
    after = replace(CALM, temperatures_c={"0 cpu": 54.0}, clocks_hz={"0": 6 * 10**8})
    # Another core is the one that works; the idle one's clock may be anything.
    rounds = _rounds({"a": 1000, "b": 2000}, {"a": 2000, "b": 500}, {"a": 1990, "b": 600})
    assert throttling(CALM, after, rounds, ["a", "b"], StateLimits()) == ()


Change = Callable[[DeviceState], DeviceState]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda s: replace(s, max_clocks_hz={"0": 15 * 10**8}),
            "the clock that core 0 may have fell from 2000 to 1500 MHz",
        ),
        (lambda s: replace(s, cooling={"0 cpufreq": 1}), "cooling device 0 cpufreq went from state 0 to 1"),
        (lambda s: replace(s, throttle_counts={"0": 4}), "core 0 was throttled"),
        (lambda s: replace(s, firmware=("under-voltage",)), "the firmware reports under-voltage"),
        (lambda s: replace(s, temperatures_c={"0 cpu": 60.5}), "thermal zone 0 cpu rose by 20.5 K (limit 15 K)"),
    ],
)
def test_a_throttled_device_is_told(change: Change, reason: str) -> None:
    assert throttling(CALM, change(CALM), [], [], StateLimits()) == (reason,)


def test_a_clock_that_moves_during_the_runs_is_told() -> None:
    rounds = _rounds({"a": 1_800_000}, {"a": 1_800_000}, {"a": 1_500_000})
    assert throttling(CALM, CALM, rounds, ["a"], StateLimits()) == (
        "the clock moved between 1500 and 1800 MHz during the runs",
    )
