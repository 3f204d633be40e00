from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Build, Ended
from needs import needs_downloads

Run = Callable[..., Ended]
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler to build the runner with")


@pytest.fixture
def out(built: Build, tmp_path: Path) -> Path:
    return shutil.copytree(built.out, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--record-baseline"], "--record-baseline wants --baseline"),
        (["--compare", "x.tflite", "--no-operations"], "exclude each other"),
        (["--via", "local", "--target", "cortex-a7", "--target", "host"], "reaches one device"),
        (["--roofline", "x.svg", "--no-operations"], "exclude each other"),
        (["--via", "local", "--lane", "litert"], "--lane is for --via qemu"),
        (["--via", "adb", "--roofline", "x.svg"], "--roofline is for --via qemu"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(edgeq: Run, arguments: list[str], message: str) -> None:
    ended = edgeq("bench", "out", *arguments)
    assert ended.code == 2
    assert message in ended.err


def test_a_missing_emulator_is_one_line(edgeq: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ended = edgeq("bench", out, "--no-operations")
    assert ended.code == 1
    assert "not installed; install it: sudo apt-get install" in ended.error


@pytest.mark.parametrize("via", ["local", "qemu"])
def test_a_truncated_file_is_one_line(edgeq: Run, out: Path, tmp_path: Path, via: str) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes((out / "model.tflite").read_bytes()[:1000])
    ended = edgeq("bench", broken, "--via", via)
    assert ended.code == 1
    assert "broken.tflite: is truncated or corrupted" in ended.error


def test_a_target_with_a_typo_is_one_line(edgeq: Run, out: Path) -> None:
    assert "did you mean cortex-a75?" in edgeq("bench", out, "--target", "cortexa75").error


def test_an_unknown_way_is_one_line(edgeq: Run, out: Path) -> None:
    assert "unknown transport" in edgeq("bench", out, "--target", "host", "--via", "usb").error


def test_a_password_is_refused_and_not_repeated(edgeq: Run, out: Path) -> None:
    for targets in ((), ("--target", "host", "--target", "cortex-a7")):
        ended = edgeq("bench", out, "--via", "ssh://pi:hunter2@board", *targets)
        assert ended.code == 1
        assert "a password does not belong on a command line" in ended.error
        assert "hunter2" not in ended.out + ended.err


@pytest.mark.skipif(platform.machine().startswith("armv"), reason="this machine may be the target")
def test_a_time_is_not_taken_for_another_machine_s(edgeq: Run, out: Path) -> None:
    ended = edgeq("bench", out, "--via", "local", "--target", "cortex-a7")
    assert ended.code == 1
    assert "the device is another machine than cortex-a7" in ended.error
    assert json.loads((out / "manifest.json").read_text())["bench"] == []


@needs_compiler
def test_this_machine_is_measured(edgeq: Run, out: Path, tmp_path: Path) -> None:
    saved = tmp_path / "bench.json"
    arguments = ("--via", "local", "--target", "host", "--runs", 40, "--allow-noisy", "--save", saved, "--json", "-q")
    ended = edgeq("bench", out, *arguments)
    assert ended.code == 0, ended.err
    (found,) = json.loads(ended.out)["results"]
    assert json.loads(saved.read_text()) == {"results": [found]}
    measurement: dict[str, Any] = found["measurement"]
    assert (measurement["basis"], len(measurement["times_ns"])) == ("measured", 40)
    assert found["agreement"]["equal"]
    assert found["agreement"]["golden"]
    latency = measurement["latency"]
    assert 0 < latency["min_ns"] <= latency["p50"]["value_ns"] <= latency["p90"]["value_ns"] <= latency["max_ns"]
    assert (measurement["power"] is None) == bool(measurement["power_note"])
    (entry,) = json.loads((out / "manifest.json").read_text())["bench"]
    assert (entry["target"], entry["basis"], entry["runs"]) == ("host", "measured", 40)


@needs_compiler
def test_the_table_of_a_measurement(edgeq: Run, out: Path) -> None:
    ended = edgeq("bench", out, "--via", "local", "--target", "host", "--runs", 40, "--allow-noisy", "--float-twin")
    assert ended.code == 0, ended.err
    rows = {line.split("  ")[0]: line for line in ended.out.splitlines()}
    assert "ms (95 % in " in rows["p50"]
    assert "equal bytes, 2 random samples" in rows["output"]
    assert json.loads((out / "manifest.json").read_text())["bench"] == []  # the twin is not the build's file


def test_lists_of_cores(edgeq: Run) -> None:
    assert "no list of cores" in edgeq("bench", "out", "--via", "local", "--cores", "4-2").err


@needs_downloads
def test_counting_recording_comparing_and_drawing(edgeq: Run, out: Path, tmp_path: Path) -> None:
    baseline, drawing = tmp_path / "new" / "baseline.json", tmp_path / "drawn" / "roofline.svg"
    arguments = ("bench", out, "--target", "cortex-a75", "--baseline", baseline)
    ended = edgeq(*arguments, "--record-baseline", "--roofline", drawing)
    assert ended.code == 0, ended.err
    assert "16 golden samples" in ended.out  # its softmax has a tie, which ARM rounds to the other side
    assert "cortex-a75, litert: operation by operation" in ended.out
    assert "estimate, not measured" in ended.out
    assert drawing.read_text().startswith("<svg")
    (entry,) = json.loads((out / "manifest.json").read_text())["bench"]
    assert (entry["basis"], entry["via"]) == ("estimate", "qemu")

    again = edgeq(*arguments, "--json", "--no-operations")
    assert again.code == 0, again.err
    (found,) = json.loads(again.out)["results"]
    recorded = json.loads(baseline.read_text())["instructions"]
    assert (
        recorded
        == {"cortex-a75/litert": found["lanes"][0]["counts"]["total"]}
        == {"cortex-a75/litert": entry["instructions"]}
    )

    compared = edgeq("bench", out, "--compare", out / "model.tflite")
    assert "both execute the same instructions, operation by operation" in compared.out

    baseline.write_text(json.dumps({"schema": 1, "instructions": {"cortex-a75/litert": 1000}}))
    risen = edgeq(*arguments, "--no-operations", "--save", tmp_path / "kept.json")
    assert risen.code == 1
    assert "more instructions an inference than recorded" in risen.err
    assert "instructions  " in risen.out  # the figures are there all the same
    assert json.loads((tmp_path / "kept.json").read_text())["results"][0]["target"] == "cortex-a75"


@needs_compiler
def test_two_files_are_measured_side_by_side(edgeq: Run, out: Path) -> None:
    arguments = ("--via", "local", "--target", "host", "--runs", 40, "--allow-noisy")
    ended = edgeq("bench", out, "--compare", out / "model.tflite", *arguments)
    assert ended.code == 0, ended.err
    ratio = float(ended.out.rsplit("second / first at the median: x", 1)[1])
    assert 0.1 < ratio < 10
