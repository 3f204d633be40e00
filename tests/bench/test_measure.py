"""A measurement from end to end on this machine, with a runner that speaks the protocol but computes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fake_runner import RUNNER
from transport_checks import gone

from edgeq.bench import sampling
from edgeq.bench.jobs import Job
from edgeq.bench.measure import Measurement, RunnerFiles, Settings, measure
from edgeq.bench.sampling import Round, Samples, read_notes
from edgeq.bench.transport import open_transport, parse_via
from edgeq.errors import EdgeqError, FormatError, RecipeError, VerifyError

QUIET = Settings(idle_s=1, interval_s=0.05)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "model.tflite").write_text("2000 2001 2002")
    (tmp_path / "samples.bin").write_bytes(bytes(range(200)))
    return Job("net", tmp_path / "model.tflite", tmp_path / "samples.bin", tmp_path / "out.bin", warm_up=2, runs=30)


@pytest.fixture
def runner(tmp_path: Path) -> RunnerFiles:
    (tmp_path / "runner").write_text(RUNNER)
    (tmp_path / "runner").chmod(0o755)
    return RunnerFiles(tmp_path / "runner")


def _measure(runner: RunnerFiles, job: Job, settings: Settings) -> Measurement:
    with open_transport(parse_via("local")) as transport:
        return measure(transport, runner, job, settings)


@pytest.fixture
def calm(tmp_path: Path) -> Settings:
    """Settings for a device whose /sys is empty, so that this machine's own clocks and sensors play no part."""
    (tmp_path / "fake sys").mkdir()
    return replace(QUIET, root=str(tmp_path / "fake sys"))


def test_a_measurement(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    found = _measure(runner, job, calm)
    assert (found.basis, found.name, found.via, found.threads, found.warm_up) == ("measured", "net", "local", 1, 2)
    assert found.times_ns == (2_000_000, 2_001_000, 2_002_000) * 10
    assert (found.latency.runs, found.latency.p50.value_ns) == (30, 2_001_000)
    assert (found.flags, found.power, found.cores) == ((), None, None)
    assert found.power_note == "the device has no power sensor that may be read"
    assert found.machine.startswith("Linux ")
    assert job.outputs.read_bytes() == bytes(range(200))[::-1]
    assert json.loads(json.dumps(asdict(found)))["latency"]["p50"]["value_ns"] == 2_001_000


def test_what_the_runner_is_given(runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(b"\x7fELF")
    variables = {"WORD": "in {folder}; $HOME", "SAID": str(tmp_path / "said.json")}
    full = replace(runner, arguments=("--with", "{folder}/library.so"), files=(library,), environment=variables)
    _measure(full, job, calm)
    _, word, arguments = json.loads((tmp_path / "said.json").read_text())
    folder = word.removeprefix("in ").removesuffix("; $HOME")
    assert arguments == ["--with", f"{folder}/library.so"]
    assert not Path(folder).exists()


def test_an_interpreter_of_the_device_runs_the_program(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    runner.program.chmod(0o644)
    assert _measure(replace(runner, interpreter=sys.executable), job, calm).samples == 1


def test_a_loader_is_pushed_and_starts_the_program(
    runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path
) -> None:
    loader = tmp_path / "ld.so"
    loader.write_text(
        f'#!/bin/sh\n[ "$1" = --library-path ] && [ -d "$2" ] || exit 9\nshift 2\nexec {sys.executable} "$@"\n'
    )
    loader.chmod(0o755)
    runner.program.chmod(0o644)
    assert _measure(replace(runner, loader=loader), job, calm).samples == 1


@pytest.mark.skipif(shutil.which("taskset") is None, reason="no taskset: apt-get install util-linux")
def test_the_runner_is_bound_to_the_cores(runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    bound = replace(runner, environment={"SAID": str(tmp_path / "said.json")})
    found = _measure(bound, job, replace(calm, cores=(core,)))
    assert (found.cores, found.cores_note) == ((core,), "")
    assert json.loads((tmp_path / "said.json").read_text())[0] == 1


@pytest.mark.skipif(shutil.which("taskset") is None, reason="no taskset: apt-get install util-linux")
def test_cores_that_are_not_there_are_one_line(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    with pytest.raises(EdgeqError, match="local: the runner cannot be bound to these cores"):
        _measure(runner, job, replace(calm, cores=(1000,)))


def test_without_taskset_the_runner_is_not_bound(
    runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "env", "cat", "chmod", "mv", "wc", "rm", "mktemp", "sleep", "setsid", "uname", "grep"):
        (programs / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(programs))
    found = _measure(runner, job, replace(calm, cores=(0,)))
    assert (found.cores, found.cores_note) == (None, "the device has no taskset")


def test_a_noisy_run_is_refused_or_flagged(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    job.model.write_text(" ".join(["1000"] * 15 + ["1200"] * 15))
    with pytest.raises(VerifyError, match=r"net on local: .* second half of the runs is 20.0% slower") as caught:
        _measure(runner, job, calm)
    assert "\n" not in str(caught.value)
    found = _measure(runner, job, replace(calm, allow_noisy=True))
    assert [flag.split(" is ")[0] for flag in found.flags][-1] == "the second half of the runs"


def _write(root: str, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = Path(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_a_clock_that_falls_during_the_runs_is_refused(
    runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path
) -> None:
    """The runner lets it fall half-way, replacing the file as a whole: a reader never sees half of it."""
    job.model.write_text("50000")
    clock, fallen = Path(calm.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"), tmp_path / "fallen"
    clock.parent.mkdir(parents=True)
    clock.write_text("1800000\n")
    fallen.write_text("1200000\n")
    turn = f"    if turn == 15: os.replace({str(fallen)!r}, {str(clock)!r})\n    time.sleep("
    runner.program.write_text(RUNNER.replace("    time.sleep(", turn))
    with pytest.raises(VerifyError, match="the clock moved between 1200 and 1800 MHz"):
        _measure(runner, job, calm)


def test_energy_is_read_during_the_runs(
    runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that wraps: 1 W at rest, 5 W from the runner's start on. It counts by the uptime of each reading, so
    that it is exact however long a reading takes on a busy machine."""
    job.model.write_text("50000")
    zone, range_j = "sys/class/powercap/intel-rapl:0", 1000
    counter, started = str(Path(calm.root, zone, "energy_uj")), tmp_path / "started"
    files = {"name": "package-0", "max_energy_range_uj": f"{range_j}000000", "energy_uj": "7"}
    _write(calm.root, {f"{zone}/{name}": text for name, text in files.items()})
    counts_from: list[float] = []

    def joules(at_s: float) -> float:
        counts_from.append(at_s)
        worked_s = max(0.0, at_s - float(started.read_text())) if started.exists() else 0.0
        return (range_j - 0.5 + at_s - counts_from[0] + 4 * worked_s) % range_j

    def read(text: str, paths: Sequence[str]) -> Samples:
        found = read_notes(text, paths)
        assert {item.texts[counter] for item in found.rounds[:-1]} == {"7"}  # the last round may have been cut off
        rounds = (Round(item.at_s, {counter: f"{1e6 * joules(item.at_s):.0f}"}) for item in found.rounds)
        return Samples(tuple(rounds), found.end_s)

    monkeypatch.setattr(sampling, "read_notes", read)
    note = f"open({str(started)!r}, 'w').write(open('/proc/uptime').read().split()[0])\nimport json, os"
    runner.program.write_text(RUNNER.replace("import json, os", note))
    found = _measure(runner, job, calm)
    assert found.power is not None, found.power_note
    assert (found.power.sensor, found.power.scope) == ("intel-rapl:0 package-0", "package")
    assert joules(max(counts_from)) < joules(min(counts_from)), "it did not wrap"
    assert found.power.idle_w == pytest.approx(1.0, rel=1e-4)
    assert found.power.run_w == pytest.approx(5.0, rel=1e-4)
    assert found.power.energy_j == pytest.approx(4.0 * 0.05, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\necho loading >&2; echo no such model >&2; exit 1", r"status 1 \(got no such model\)"),
        ("#!/bin/sh\nkill -ILL $$", r"status 132 \(got .*\)"),
        ("#!/no/such/interpreter\n", r"status 12[67] .*is it built for this device's architecture"),
        ("\x7fELF rubbish", r"status 12[67] .*is it built for this device's architecture"),
    ],
)
def test_a_runner_that_fails_is_one_line(
    runner: RunnerFiles, job: Job, calm: Settings, text: str, message: str
) -> None:
    runner.program.write_text(text)
    with pytest.raises(EdgeqError, match=message) as caught:
        _measure(runner, job, calm)
    assert "\n" not in str(caught.value)


def test_a_runner_that_talks_otherwise_is_refused(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    runner.program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(FormatError, match="the runner answered"):
        _measure(runner, job, calm)


def test_a_runner_that_hangs_is_ended(runner: RunnerFiles, job: Job, calm: Settings) -> None:
    runner.program.write_text("#!/bin/sh\nsleep 43210.5\n")
    with pytest.raises(EdgeqError, match="did not finish in 1 s"):
        _measure(runner, job, replace(calm, timeout_s=1))
    assert gone("43210.5")


def test_two_files_of_one_name_are_refused(runner: RunnerFiles, job: Job, calm: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "runner").write_text("")
    with pytest.raises(RecipeError, match="two files of the runner have one name"):
        _measure(replace(runner, files=(tmp_path / "other" / "runner",)), job, calm)


@pytest.mark.parametrize(
    "bad", [{"timeout_s": 0.0}, {"idle_s": float("nan")}, {"interval_s": -1.0}, {"cores": ()}, {"cores": (-1,)}]
)
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        Settings(**bad)  # type: ignore[arg-type]
