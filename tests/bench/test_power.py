"""Power sensors as /sys shows them, made of files; and the arithmetic from readings to joules an inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeq.bench.power import Sensor, find_sensors, mean_power, power_of_run
from edgeq.bench.sampling import Round, Samples, read_notes, run_sampled
from edgeq.bench.transport import Transport, open_transport, parse_via

Tree = Callable[[dict[str, str]], str]


@pytest.fixture(scope="module")
def device() -> Iterator[Transport]:
    with open_transport(parse_via("local")) as transport:
        yield transport


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(files: dict[str, str]) -> str:
        root = tmp_path / "fake sys"
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return str(root)

    return make


def _watts(device: Transport, root: str) -> dict[str, tuple[str, Any]]:
    """Name to scope and power of all sensors that tell power, read once and taken three times."""
    sensors, _ = find_sensors(device, root)
    texts = device.read_files([f"'{path}'" for sensor in sensors for path in sensor.files])
    rounds = [Round(float(at), texts) for at in range(3)]
    return {one.name: (one.scope, mean_power(one, rounds)) for one in sensors if one.kind == "power"}


def test_hwmon_power_is_in_microwatts(device: Transport, tree: Tree) -> None:
    root = tree({"sys/class/hwmon/hwmon3/name": "ina226", "sys/class/hwmon/hwmon3/power1_input": "2345000"})
    assert _watts(device, root) == {"hwmon3 ina226 power1": ("rail", pytest.approx(2.345))}


def test_an_ina3221_is_current_times_bus_voltage(device: Transport, tree: Tree) -> None:
    """A Jetson's board: milliamperes times millivolts, with the rails' names."""
    hwmon = "sys/class/hwmon/hwmon1"
    root = tree(
        {f"{hwmon}/name": "ina3221", f"{hwmon}/in1_label": "VDD_IN", f"{hwmon}/in2_label": "VDD_CPU_GPU_CV"}
        | {f"{hwmon}/in1_input": "5000", f"{hwmon}/curr1_input": "1200"}
        | {f"{hwmon}/in2_input": "5008", f"{hwmon}/curr2_input": "300"}
        | {f"{hwmon}/in4_input": "12"}  # a shunt's voltage
    )
    assert _watts(device, root) == {
        "hwmon1 ina3221 VDD_IN": ("board", pytest.approx(6.0)),
        "hwmon1 ina3221 VDD_CPU_GPU_CV": ("cpu", pytest.approx(1.5024)),
    }


def test_a_chip_that_is_no_ina_is_not_multiplied(device: Transport, tree: Tree) -> None:
    hwmon = "sys/class/hwmon/hwmon0"
    root = tree({f"{hwmon}/name": "ltc2978", f"{hwmon}/in1_input": "5000", f"{hwmon}/curr1_input": "1200"})
    assert find_sensors(device, root)[0] == ()


def test_a_graphics_card_is_not_the_board(device: Transport, tree: Tree) -> None:
    root = tree({"sys/class/hwmon/hwmon0/name": "amdgpu", "sys/class/hwmon/hwmon0/power1_input": "9000000"})
    assert find_sensors(device, root)[0] == ()


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_discharging_battery_is_the_board(device: Transport, tree: Tree, sign: str) -> None:
    battery = "sys/class/power_supply/battery"
    root = tree(
        {f"{battery}/type": "Battery", f"{battery}/status": "Discharging"}
        | {f"{battery}/current_now": f"{sign}250000", f"{battery}/voltage_now": "4000000"}
    )
    assert _watts(device, root) == {"power_supply battery": ("board", pytest.approx(1.0))}


def test_a_battery_on_its_charger_is_refused_with_a_reason(device: Transport, tree: Tree) -> None:
    battery = "sys/class/power_supply/battery"
    root = tree({f"{battery}/type": "Battery", f"{battery}/status": "Charging", f"{battery}/power_now": "5000000"})
    sensors, reason = find_sensors(device, root)
    assert sensors == ()
    assert "battery is not discharging (Charging): unplug it" in reason


def test_rapl_zones_and_their_ranges(device: Transport, tree: Tree) -> None:
    zones = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:1": "psys"}
    files = {f"sys/class/powercap/{zone}/name": name for zone, name in zones.items()}
    files |= {f"sys/class/powercap/{zone}/energy_uj": "123" for zone in zones}
    files |= {f"sys/class/powercap/{zone}/max_energy_range_uj": "262143328850" for zone in zones}
    sensors, _ = find_sensors(device, tree(files))
    assert {sensor.name: sensor.scope for sensor in sensors} == {
        "intel-rapl:0 package-0": "package",
        "intel-rapl:0:0 core": "cpu",
        "intel-rapl:0:1 dram": "rail",
        "intel-rapl:1 psys": "board",
    }
    assert [sensor.range_j for sensor in sensors] == pytest.approx([262143.32885] * 4)


def test_rapl_that_may_not_be_read_says_so(device: Transport, tree: Tree) -> None:
    sensors, reason = find_sensors(device, tree({"sys/class/powercap/intel-rapl:0/name": "package-0"}))
    assert sensors == ()
    assert "intel-rapl:0 (package-0) may not be read: be root" in reason


def test_a_device_without_sensors_says_so(device: Transport, tree: Tree) -> None:
    sensors, reason = find_sensors(device, tree({"sys/nothing": ""}))
    assert (sensors, reason) == ((), "the device has no power sensor that may be read")


ODPM = "t={at}\nCH0(T={at})[S4M_VDD_CPUCL0], {little}\nCH1(T={at})[S2M_VDD_CPUCL2], {big}\nCH2(T={at})[S1M_VDD_MIF], 77"


def test_a_phones_rails_are_found_and_those_of_the_cores_added(device: Transport, tree: Tree) -> None:
    path = "sys/bus/iio/devices/iio:device0/energy_value"
    root = tree({path: ODPM.format(at=1, little=10, big=20)})
    sensors, _ = find_sensors(device, root)
    assert [sensor.scope for sensor in sensors] == ["cpu", "rail", "rail", "rail"]
    texts = [ODPM.format(at=at, little=200_000 * at, big=1_000_000 * at) for at in range(1, 5)]
    rounds = [Round(float(at), {f"{root}/{path}": text}) for at, text in enumerate(texts)]
    watts = [mean_power(sensor, rounds) for sensor in sensors]
    assert watts == [pytest.approx(1.2), pytest.approx(0.2), pytest.approx(1.0), pytest.approx(0.0)]


def _counter(range_j: float | None = None, scope: str = "package") -> Sensor:
    assert scope in ("package", "rail")
    return Sensor(f"counter {scope}", "package" if scope == "package" else "rail", "energy", (scope,), 1e-6, range_j)


def _rounds(values: list[int], name: str = "package", start_s: float = 0.0) -> tuple[Round, ...]:
    return tuple(Round(start_s + 0.1 * turn, {name: str(value)}) for turn, value in enumerate(values))


def test_a_counter_that_wraps_goes_on() -> None:
    steady = [turn * 300_000 for turn in range(20)]
    wrapped = [(value + 900_000) % 1_000_000 for value in steady]
    assert mean_power(_counter(), _rounds(steady)) == pytest.approx(3.0)
    assert mean_power(_counter(1.0), _rounds(wrapped)) == pytest.approx(3.0)


def test_a_counter_that_wraps_at_an_unknown_value_is_used_from_there() -> None:
    values = [900_000, 950_000, *(turn * 200_000 for turn in range(10))]
    assert mean_power(_counter(), _rounds(values)) == pytest.approx(2.0)


@pytest.mark.parametrize("texts", [["1", "2"], ["", "x", "1e9", "1" * 30], []])
def test_too_few_or_odd_readings_are_none(texts: list[str]) -> None:
    rounds = [Round(float(at), {"package": text}) for at, text in enumerate(texts)]
    assert mean_power(_counter(), rounds) is None


def test_joules_an_inference_are_above_idle_and_of_the_runs_alone() -> None:
    """1 W at rest; 9 W while the model is loaded, 5 W while it runs 20 times in the last 2 s before the end."""
    sensor = Sensor("board", "board", "power", ("power",), 1e-6)
    idle = Samples(_rounds([1_000_000] * 20, "power"), 2.0)
    loading = _rounds([9_000_000] * 30, "power", 10.0)
    running = _rounds([5_000_000] * 20, "power", 13.05)
    power, reason = power_of_run([sensor], idle, Samples((*loading, *running), 15.0), [100_000_000] * 20, 0.1)
    assert power is not None, reason
    assert [power.idle_w, power.run_w] == pytest.approx([1.0, 5.0])
    assert power.rounds == 20
    assert power.energy_j == pytest.approx((5 - 1) * 2 / 20)


def test_the_widest_sensor_is_used_and_all_are_told() -> None:
    def both(package_uj: int) -> tuple[Round, ...]:
        texts = [{"package": str(package_uj * turn), "rail": str(900_000 * turn)} for turn in range(11)]
        return tuple(Round(0.1 * turn, text) for turn, text in enumerate(texts))

    sensors = [_counter(scope="rail"), _counter()]
    idle, run = Samples(both(100_000), 1.0), Samples(both(300_000), 1.0)
    power, _ = power_of_run(sensors, idle, run, [10_000_000] * 100, 0.1)
    assert power is not None
    assert power.sensor == "counter package"
    assert power.energy_j == pytest.approx(0.02)
    assert [rail.sensor for rail in power.rails] == ["counter rail", "counter package"]


def test_runs_that_are_too_short_for_the_sensor_say_so() -> None:
    samples = Samples(_rounds(list(range(20))), 2.0)
    power, reason = power_of_run([_counter()], samples, samples, [1_000_000] * 10, 0.1)
    assert power is None
    assert "20 readings at rest, 0 in the 0.01 s of the runs" in reason


def test_a_battery_gauge_that_stands_still_is_not_believed() -> None:
    gauge = Sensor("power_supply battery", "board", "power", ("power",), 1e-6, slow=True)
    idle, run = Samples(_rounds([1_000_000] * 20, "power"), 2.0), Samples(_rounds([2_000_000] * 20, "power"), 2.0)
    power, reason = power_of_run([gauge], idle, run, [100_000_000] * 20, 0.1)
    assert power is None
    assert "power_supply battery did not keep up" in reason


def test_no_more_power_at_work_than_at_rest_is_no_energy() -> None:
    samples = Samples(_rounds([turn * 100_000 for turn in range(21)]), 2.0)
    power, reason = power_of_run([_counter()], samples, samples, [100_000_000] * 20, 0.1)
    assert power is None
    assert "reads no more at work (1.000 W) than at rest (1.000 W)" in reason


def test_files_are_read_beside_a_program(device: Transport, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("first\nsecond line\n")
    (tmp_path / "two with space").write_text("no line break")
    files = [str(tmp_path / "one"), str(tmp_path / "absent"), str(tmp_path / "two with space")]
    done, samples = run_sampled(device, ["sh", "-c", "sleep 1; exit 5"], files, interval_s=0.05, timeout_s=30)
    assert done.returncode == 5
    assert len(samples.rounds) >= 4  # of 20 on a machine that has nothing else to do
    assert samples.end_s is not None
    assert samples.rounds[0].texts == {files[0]: "first\nsecond line", files[2]: "no line break"}
    times = [item.at_s for item in samples.rounds]
    assert times == sorted(times)
    assert times[-1] <= samples.end_s <= float(Path("/proc/uptime").read_text().split()[0])


def test_notes_with_odd_lines_are_read_as_far_as_they_make_sense() -> None:
    text = "0 before any round\nt 1.00\n0 a\n1 b\n9 no such file\nrubbish\nt x\nt 2.00\n0 c\nt 3.00\n0 cut of"
    samples = read_notes(text + "\nend 3.05\n", ["f", "g"])
    assert [(item.at_s, dict(item.texts)) for item in samples.rounds] == [
        (1.0, {"f": "a", "g": "b"}),
        (2.0, {"f": "c"}),
    ]
    assert samples.end_s == 3.05
    assert [item.at_s for item in samples.last(1.5)] == [2.0]
    assert read_notes("t 1.0\nt 2.0\n", []).last(100) == ()
