"""Clocks, governors and temperatures of a device, and whether it slowed itself down. Read from /sys, never set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeq.bench.sampling import Round
from edgeq.bench.transport import Transport

__all__ = ["DeviceState", "StateLimits", "clock_files", "read_state", "throttling"]

_CPUS = "/sys/devices/system/cpu"
_PATTERNS = (
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_cur_freq",
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_max_freq",
    f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_governor",
    f"{_CPUS}/cpu[0-9]*/thermal_throttle/core_throttle_count",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/thermal/cooling_device*/type",
    "/sys/class/thermal/cooling_device*/cur_state",
    "/sys/devices/platform/soc/soc:firmware/get_throttled",
)
_CPU = re.compile(r"/cpu/cpu(\d+)/")
_CPU_COOLING = re.compile(r"cpufreq|cpu-?freq|processor|cpu", re.IGNORECASE)
_FIRMWARE = ((0, "under-voltage"), (1, "clock capped"), (2, "throttled"), (3, "soft temperature limit"))
"""Bits of the Raspberry Pi firmware's get_throttled that say what holds now (Raspberry Pi documentation, vcgencmd)."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device at one moment; what it does not tell is empty.

    Attributes:
        clocks_hz, max_clocks_hz: by core, the clock and the highest that is allowed at the moment.
        governors: by core.
        temperatures_c: by thermal zone, ``NUMBER TYPE``.
        cooling: by cooling device of the processor, its state; 0 is not cooling.
        throttle_counts: by core, how often it was throttled since start (x86).
        firmware: what the Raspberry Pi's firmware complains of.
    """

    clocks_hz: dict[str, int]
    max_clocks_hz: dict[str, int]
    governors: dict[str, str]
    temperatures_c: dict[str, float]
    cooling: dict[str, int]
    throttle_counts: dict[str, int]
    firmware: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateLimits:
    """From where on a device counts as throttled. Chosen; a clock that is fixed does not move at all.

    Attributes:
        clock: largest relative change of the clock during the measured runs.
        temperature_c: largest rise of a thermal zone from before to after, K.
    """

    clock: float = 0.03
    temperature_c: float = 15.0


def read_state(transport: Transport, root: str = "") -> DeviceState:
    """Clocks, governors and temperatures now.

    Args:
        transport: the device.
        root: prefix of all paths; for tests.
    """
    prefix = shlex.quote(root) if root else ""
    found = transport.read_files([f"{prefix}{pattern}" for pattern in _PATTERNS])
    texts = {path.removeprefix(root): text.strip() for path, text in found.items()}

    def of_cores(name: str) -> dict[str, str]:
        cores = {
            int(match[1]): text for path, text in texts.items() if path.endswith(name) and (match := _CPU.search(path))
        }
        return {str(core): cores[core] for core in sorted(cores)}

    zones = _by_number(texts, "thermal_zone", "temp")
    cooling = _by_number(texts, "cooling_device", "cur_state")
    return DeviceState(
        clocks_hz=_scaled(of_cores("/cpufreq/scaling_cur_freq"), 1000),
        max_clocks_hz=_scaled(of_cores("/cpufreq/scaling_max_freq"), 1000),
        governors=of_cores("/cpufreq/scaling_governor"),
        temperatures_c={name: value / 1000 for name, value in zones.items()},
        cooling={name: value for name, value in cooling.items() if _CPU_COOLING.search(name)},
        throttle_counts=_scaled(of_cores("/thermal_throttle/core_throttle_count"), 1),
        firmware=_firmware(texts.get("/sys/devices/platform/soc/soc:firmware/get_throttled", "0")),
    )


def clock_files(transport: Transport, cores: Sequence[int] | None, root: str = "") -> tuple[str, ...]:
    """The files with the clock of the given cores, or of all, to be read during a run."""
    prefix = shlex.quote(root) if root else ""
    found = transport.read_files([f"{prefix}{_CPUS}/cpu[0-9]*/cpufreq/scaling_cur_freq"])
    numbers = {path: int(match[1]) for path in found if (match := _CPU.search(path.removeprefix(root)))}
    return tuple(path for path, number in sorted(numbers.items()) if cores is None or number in cores)


def throttling(
    before: DeviceState, after: DeviceState, rounds: Sequence[Round], clocks: Sequence[str], limits: StateLimits
) -> tuple[str, ...]:
    """Why the run should not be trusted, one reason an entry; empty where nothing speaks against it.

    Args:
        before, after: the device around the run.
        rounds: what was read during the measured runs.
        clocks: the files among them of :func:`clock_files`.
        limits: what is still taken as steady.
    """
    reasons = []
    for core, highest in before.max_clocks_hz.items():
        if after.max_clocks_hz.get(core, highest) < highest:
            change = f"{highest / 1e6:.0f} to {after.max_clocks_hz[core] / 1e6:.0f} MHz"
            reasons.append(f"the clock that core {core} may have fell from {change}")
            break
    # The fastest of the cores counts: the others may have nothing to do.
    fastest = [max(values) for item in rounds if (values := _clocks(item, clocks))]
    if fastest and min(fastest) < max(fastest) * (1 - limits.clock):
        change = f"{min(fastest) / 1e6:.0f} and {max(fastest) / 1e6:.0f} MHz"
        reasons.append(f"the clock moved between {change} during the runs")
    for name, state in after.cooling.items():
        if state > before.cooling.get(name, 0):
            reasons.append(f"cooling device {name} went from state {before.cooling.get(name, 0)} to {state}")
    for core, count in after.throttle_counts.items():
        if count > before.throttle_counts.get(core, count):
            reasons.append(f"core {core} was throttled")
            break
    if after.firmware or before.firmware:
        reasons.append(f"the firmware reports {', '.join(after.firmware or before.firmware)}")
    rises = {
        zone: after.temperatures_c[zone] - at
        for zone, at in before.temperatures_c.items()
        if zone in after.temperatures_c
    }
    hottest = max(rises, key=lambda zone: rises[zone], default=None)
    if hottest is not None and rises[hottest] > limits.temperature_c:
        reasons.append(f"thermal zone {hottest} rose by {rises[hottest]:.1f} K (limit {limits.temperature_c:g} K)")
    return tuple(reasons)


def _clocks(item: Round, clocks: Sequence[str]) -> list[int]:
    return [1000 * int(text) for path in clocks if (text := item.texts.get(path, "").strip()).isdecimal()]


def _by_number(texts: Mapping[str, str], kind: str, value: str) -> dict[str, int]:
    """``NUMBER TYPE`` to value of the things of one kind in /sys/class/thermal."""
    found: dict[int, tuple[str, int]] = {}
    for path, text in texts.items():
        match = re.fullmatch(rf"/sys/class/thermal/{kind}(\d+)/{value}", path)
        if match and re.fullmatch(r"-?\d+", text):
            found[int(match[1])] = (texts.get(f"/sys/class/thermal/{kind}{match[1]}/type", ""), int(text))
    return {f"{number} {name}".strip(): number_value for number, (name, number_value) in sorted(found.items())}


def _scaled(texts: Mapping[str, str], factor: int) -> dict[str, int]:
    return {core: factor * int(text) for core, text in texts.items() if text.isdecimal()}


def _firmware(text: str) -> tuple[str, ...]:
    try:
        bits = int(text, 16)
    except ValueError:
        return ()
    return tuple(word for bit, word in _FIRMWARE if bits >> bit & 1)
