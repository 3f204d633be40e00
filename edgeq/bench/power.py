"""Power while a model runs: the sensors a device has, what they read at rest and at work, joules an inference.

It reads what the kernel offers and switches nothing on. Sources of the files and their units: the Linux kernel's
Documentation/hwmon/sysfs-interface.rst, Documentation/ABI/testing/sysfs-class-power and
Documentation/power/powercap/powercap.rst; Android's energy_value as the Pixel's power stats service reads it.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from edgeq.bench.sampling import Round, Samples
from edgeq.bench.transport import Transport

__all__ = ["Power", "Rail", "Sensor", "find_sensors", "mean_power", "power_of_run"]

Scope = Literal["board", "package", "cpu", "rail"]

_PATTERNS = (
    "/sys/class/hwmon/hwmon*/name",
    "/sys/class/hwmon/hwmon*/power*_input",
    "/sys/class/hwmon/hwmon*/power*_label",
    "/sys/class/hwmon/hwmon*/energy*_input",
    "/sys/class/hwmon/hwmon*/energy*_label",
    "/sys/class/hwmon/hwmon*/curr*_input",
    "/sys/class/hwmon/hwmon*/in*_input",
    "/sys/class/hwmon/hwmon*/in*_label",
    "/sys/class/power_supply/*/type",
    "/sys/class/power_supply/*/status",
    "/sys/class/power_supply/*/online",
    "/sys/class/power_supply/*/power_now",
    "/sys/class/power_supply/*/current_now",
    "/sys/class/power_supply/*/voltage_now",
    "/sys/class/powercap/*/name",
    "/sys/class/powercap/*/energy_uj",
    "/sys/class/powercap/*/max_energy_range_uj",
    "/sys/bus/iio/devices/iio:device*/energy_value",
)
_HWMON = re.compile(r"(/sys/class/hwmon/(hwmon\d+))/(power|energy|curr)(\d+)_input")
_SUPPLY = re.compile(r"/sys/class/power_supply/([^/]+)/type")
_RAPL = re.compile(r"/sys/class/powercap/(intel-rapl(?::\d+)+)/name")
_ODPM = re.compile(r"/sys/bus/iio/devices/(iio:device\d+)/energy_value")
_ODPM_LINE = re.compile(r"CH\d+(?:\(T=\d+\))?\[([^\]]+)\],\s*(\d+)")
_NOT_THE_BOARD = re.compile(r"amdgpu|nouveau|i915|xe|nvme|BAT.*|AC.*|ucsi.*")
_BOARD_INPUT = re.compile(r"VDD_IN|VIN\b|_5V_IN|SYS_IN|VSYS|total|board|input", re.IGNORECASE)
_SCOPES: tuple[Scope, ...] = ("board", "package", "cpu", "rail")
_MOST_SENSORS = 64
_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Sensor:
    """One thing that tells power or energy.

    Attributes:
        name: for people, such as ``hwmon0 ina226 VDD_IN``.
        scope: what it covers: the whole board, the processor's package, the cores, or some rail.
        kind: ``power``: the files' numbers are multiplied, in W; ``energy``: the file counts J; ``rails``: the file
            lists counters of J by name, of which those in ``rails`` are added.
        files: to be read.
        unit: what the result is multiplied with, to be in W or J.
        range_j: where an energy counter starts again from 0; None where that is not known.
        rails: names, for ``rails``.
        slow: it may stand still for seconds, as a battery's gauge does; readings that are all alike are not believed.
    """

    name: str
    scope: Scope
    kind: Literal["power", "energy", "rails"]
    files: tuple[str, ...]
    unit: float
    range_j: float | None = None
    rails: tuple[str, ...] = ()
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Rail:
    """What one sensor read.

    Attributes:
        sensor, scope: see :class:`Sensor`.
        idle_w: mean power at rest, before the runs.
        run_w: mean power during the measured runs.
    """

    sensor: str
    scope: Scope
    idle_w: float
    run_w: float


@dataclass(frozen=True, slots=True)
class Power:
    """Power and energy of the measured runs.

    Attributes:
        sensor, scope: what ``energy_j`` rests on.
        idle_w, run_w: its mean power at rest and during the runs.
        energy_j: joules an inference: (run_w - idle_w) times the time of all runs over their number.
        rounds: how often the sensor was read during the runs.
        interval_s: pause between two readings.
        rails: all sensors that could be read, this one too.
    """

    sensor: str
    scope: Scope
    idle_w: float
    run_w: float
    energy_j: float
    rounds: int
    interval_s: float
    rails: tuple[Rail, ...]


def find_sensors(transport: Transport, root: str = "") -> tuple[tuple[Sensor, ...], str]:
    """The sensors of a device.

    Args:
        transport: the device.
        root: prefix of all paths; for tests.

    Returns:
        The sensors, at most 64, and, where there is none, why.
    """
    prefix = shlex.quote(root) if root else ""
    found = transport.read_files([f"{prefix}{pattern}" for pattern in _PATTERNS])
    texts = {path.removeprefix(root): text.strip() for path, text in found.items()}
    reasons: list[str] = []
    sensors = [*_hwmon(texts), *_supplies(texts, reasons), *_rapl(texts, reasons), *_odpm(texts)]
    rooted = tuple(
        replace(sensor, files=tuple(f"{root}{path}" for path in sensor.files)) for sensor in sensors[:_MOST_SENSORS]
    )
    return rooted, "" if rooted else "; ".join(["the device has no power sensor that may be read", *reasons])


def _hwmon(texts: Mapping[str, str]) -> list[Sensor]:
    """Power (uW), energy (uJ), and, of INA chips, current (mA) times bus voltage (mV)."""
    sensors = []
    for path in sorted(texts):
        match = _HWMON.fullmatch(path)
        if match is None or not texts[path].lstrip("-").isdecimal():
            continue
        folder, device, what, number = match.groups()
        chip = texts.get(f"{folder}/name", "")
        if _NOT_THE_BOARD.fullmatch(chip):
            continue
        label = (
            texts.get(f"{folder}/{what}{number}_label") or texts.get(f"{folder}/in{number}_label") or f"{what}{number}"
        )
        name, scope = f"{device} {chip} {label}", _scope_of(label)
        if what == "power":
            sensors.append(Sensor(name, scope, "power", (path,), 1e-6))
        elif what == "energy":
            sensors.append(Sensor(name, scope, "energy", (path,), 1e-6))
        elif chip.startswith("ina") and f"{folder}/power{number}_input" not in texts:
            voltage = f"{folder}/in{number}_input"
            if voltage in texts:
                sensors.append(Sensor(name, scope, "power", (path, voltage), 1e-6))
    return sensors


def _scope_of(label: str) -> Scope:
    if _BOARD_INPUT.search(label):
        return "board"
    return "cpu" if "cpu" in label.lower() else "rail"


def _supplies(texts: Mapping[str, str], reasons: list[str]) -> list[Sensor]:
    """A battery that discharges, or a plug that is in use: power (uW), or current (uA) times voltage (uV)."""
    sensors = []
    for path in sorted(texts):
        match = _SUPPLY.fullmatch(path)
        if match is None:
            continue
        folder, name = path.removesuffix("/type"), match[1]
        power, pair = f"{folder}/power_now", (f"{folder}/current_now", f"{folder}/voltage_now")
        if power not in texts and not all(file in texts for file in pair):
            continue
        # What flows into a battery that is charged says nothing of what the device takes.
        in_use = "Discharging" if texts[path] == "Battery" else "1"
        state = texts.get(f"{folder}/{'status' if texts[path] == 'Battery' else 'online'}", "")
        if state != in_use:
            reasons.append(f"{name} is not discharging ({state or 'no status'}): unplug it")
        elif power in texts:
            sensors.append(Sensor(f"power_supply {name}", "board", "power", (power,), 1e-6, slow=True))
        else:
            sensors.append(Sensor(f"power_supply {name}", "board", "power", pair, 1e-12, slow=True))
    return sensors


def _rapl(texts: Mapping[str, str], reasons: list[str]) -> list[Sensor]:
    """Energy counters (uJ) of the processor's package and its parts; they start again at a given range."""
    sensors = []
    for path in sorted(texts):
        match = _RAPL.fullmatch(path)
        if match is None:
            continue
        folder, zone = path.removesuffix("/name"), texts[path]
        if f"{folder}/energy_uj" not in texts:
            reasons.append(f"{match[1]} ({zone}) may not be read: be root")
            continue
        top = match[1].count(":") == 1
        scope: Scope = "board" if zone == "psys" else "package" if top else "cpu" if zone == "core" else "rail"
        limit = texts.get(f"{folder}/max_energy_range_uj", "")
        range_j = int(limit) * 1e-6 if limit.isdecimal() and int(limit) > 0 else None
        sensors.append(Sensor(f"{match[1]} {zone}", scope, "energy", (f"{folder}/energy_uj",), 1e-6, range_j))
    return sensors


def _odpm(texts: Mapping[str, str]) -> list[Sensor]:
    """Counters (uWs) of a phone's rails, one file a meter; those of the cores are also added."""
    sensors = []
    for path in sorted(texts):
        match = _ODPM.fullmatch(path)
        if match is None:
            continue
        rails = list(dict.fromkeys(name for name, _ in _ODPM_LINE.findall(texts[path])))
        cores = tuple(name for name in rails if "CPU" in name.upper())
        if cores:
            sensors.append(Sensor(f"{match[1]} {'+'.join(cores)}", "cpu", "rails", (path,), 1e-6, None, cores))
        sensors += [
            Sensor(f"{match[1]} {name}", "rail", "rails", (path,), 1e-6, None, (name,))
            for name in rails
            if (name,) != cores
        ]
    return sensors


def _reading(sensor: Sensor, item: Round) -> float | None:
    """W or J of a sensor in one round; None where it was not read or is no number."""
    texts = [item.texts.get(path, "").strip() for path in sensor.files]
    if sensor.kind == "rails":
        counters = {name: int(value) for name, value in _ODPM_LINE.findall(texts[0])}
        if any(name not in counters for name in sensor.rails):
            return None
        return sensor.unit * sum(counters[name] for name in sensor.rails)
    if not all(re.fullmatch(r"-?\d{1,20}", text) for text in texts):
        return None
    # The sign of a current tells its direction in some drivers and nothing in others.
    return sensor.unit * abs(math.prod(int(text) for text in texts))


def mean_power(sensor: Sensor, rounds: Sequence[Round]) -> float | None:
    """Mean power in W over some rounds; None where they are fewer than 3.

    A counter that fell has started again from 0 (once: rounds are a fraction of a second apart, ranges last minutes);
    where its range is not known the rounds before are left out.
    """
    read = [(item.at_s, value) for item in rounds if (value := _reading(sensor, item)) is not None]
    if len(read) < _LEAST_ROUNDS:
        return None
    if sensor.kind == "power":
        return math.fsum(value for _, value in read) / len(read)
    energy_j, start_s = 0.0, read[0][0]
    for (_, earlier), (at_s, later) in pairwise(read):
        if later >= earlier:
            energy_j += later - earlier
        elif sensor.range_j is not None:
            energy_j += later - earlier + sensor.range_j
        else:
            energy_j, start_s = 0.0, at_s
    seconds = read[-1][0] - start_s
    return energy_j / seconds if seconds > 0 else None


def power_of_run(
    sensors: Sequence[Sensor], idle: Samples, run: Samples, times_ns: Sequence[int], interval_s: float
) -> tuple[Power | None, str]:
    """Power and energy of measured runs.

    The runs are the last thing that a runner does, so they fill the time before its end.

    Args:
        sensors: of :func:`find_sensors`.
        idle: what was read at rest.
        run: what was read while the runner ran.
        times_ns: of the measured runs.
        interval_s: pause between two readings.

    Returns:
        What was measured, or None and why not.
    """
    seconds = sum(times_ns) / 1e9
    rounds = run.last(seconds)
    rails, reasons = [], []
    for sensor in sensors:
        if sensor.slow and len({_reading(sensor, item) for item in rounds}) < _LEAST_ROUNDS:
            reasons.append(f"{sensor.name} did not keep up with the runs")
            continue
        idle_w, run_w = mean_power(sensor, idle.rounds), mean_power(sensor, rounds)
        if idle_w is not None and run_w is not None:
            rails.append(Rail(sensor.name, sensor.scope, idle_w, run_w))
    if not rails:
        got = f"{len(idle.rounds)} readings at rest, {len(rounds)} in the {seconds:.2f} s of the runs"
        too_few = f"too few readings ({got}, wanted {_LEAST_ROUNDS} different ones each)"
        return None, "; ".join([too_few, *reasons, "take more runs"])
    widest = next(scope for scope in _SCOPES if any(rail.scope == scope for rail in rails))
    # Of several at one level, the one that reads most holds the others or is the one that works.
    chosen = max((rail for rail in rails if rail.scope == widest), key=lambda rail: rail.run_w)
    if chosen.run_w <= chosen.idle_w:
        return None, (
            f"{chosen.sensor} reads no more at work ({chosen.run_w:.3f} W) than at rest ({chosen.idle_w:.3f} W): "
            "the device was not at rest before, or the sensor is too slow"
        )
    energy_j = (chosen.run_w - chosen.idle_w) * seconds / len(times_ns)
    power = Power(
        chosen.sensor, chosen.scope, chosen.idle_w, chosen.run_w, energy_j, len(rounds), interval_s, tuple(rails)
    )
    return power, ""
