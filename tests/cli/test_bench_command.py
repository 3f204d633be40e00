from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Build, Ended

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


@needs_compiler
def test_this_machine_is_measured(edgeq: Run, out: Path, tmp_path: Path) -> None:
    saved = tmp_path / "bench.json"
    arguments = ("--via", "local", "--target", "host", "--runs", 40, "--allow-noisy", "--save", saved, "--json", "-q")
    ended = edgeq("bench", out, *arguments)
    assert ended.code == 0, ended.err
    (found,) = json.loads(ended.out)
    assert json.loads(saved.read_text()) == [found]
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
