"""Progress on a real terminal, wide and narrow, with and without colours, and in plain lines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Build
from terminals import Shown, in_terminal

from edgeq.display.lines import Lines
from edgeq.display.words import duration, rate, size

WORK = """
import sys, time
from edgeq.display.progress import showing_progress
with showing_progress(sys.argv[1]) as progress:
    progress.stage("Data")
    with progress.task("read a-rather-long-name-of-an-archive-of-images.tar.xz", 40) as task:
        for i in range(40):
            time.sleep(0.03)
            task.advance(1, f"loss {i / 40:.3f}, accuracy 88.12 %, amplitude 1e-05, and more that is to be told")
    progress.note("3 images were left out")
    progress.warn("something that is longer than what goes into one line of a narrow terminal")
    progress.stage("Export")
    with progress.task("download", 0) as outer, progress.task("inner", 10) as task:
        for i in range(10):
            time.sleep(0.04)
            task.advance()
    progress.stage("Verify")
print("done")
"""


def work(columns: int = 100, verbosity: str = "normal", *, encoding: str = "utf-8", **variables: Any) -> Shown:
    shown = in_terminal(["-c", WORK, verbosity], columns=columns, encoding=encoding, **variables)
    assert shown.code == 0, shown.raw
    assert max(map(len, shown.lines)) <= columns or variables.get("TERM") == "dumb"
    assert shown.lines[-2].rstrip() == "done"
    return shown


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_bar_has_share_and_time_left_at_any_width(columns: int) -> None:
    shown = work(columns)
    bars = [line for line in shown.lines if line.startswith("  read a-") and "━" in line]
    assert any(" %" in line and "00:0" in line for line in bars), "share and time left"
    assert any("/s" in line for line in bars) == (columns == 100), "a rate where there is room"
    assert any("━" in line and line.startswith("  inner") for line in shown.lines)
    assert any("━" in line and line.startswith("  download") for line in shown.lines), "both bars at once"
    assert any(line.startswith("✓ Data  1.") for line in shown.lines)
    assert any(line.startswith("✓ Verify") for line in shown.lines)


def test_verbose_keeps_the_steps() -> None:
    assert any(line.startswith("  inner: 0.") and "/s" in line for line in work(verbosity="verbose").lines)


def test_quiet_leaves_warnings() -> None:
    (warning, done) = (line for line in work(verbosity="quiet").lines if line)
    assert warning.startswith("warning: something")
    assert done == "done"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    shown = work(encoding="latin-1")
    assert shown.raw.isascii()
    assert any(line.startswith("+ Data  1.") for line in shown.lines)
    assert any("--" in line and line.startswith("  inner") for line in shown.lines)


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_where_they_should_be(variables: dict[str, Any], coloured: bool) -> None:
    raw = work(**variables).raw
    assert ("\x1b[33m" in raw) == coloured
    if variables.get("TERM") == "dumb":
        assert "\x1b" not in raw
        assert "== Data" in raw


@pytest.mark.parametrize(("variables", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_colours_where_there_is_no_terminal(variables: dict[str, str], coloured: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "edgeq", "build", "--bits", "1"]
    ended = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("\x1b[31m" if coloured else "edgeq: error: ")


def test_ctrl_c_on_a_terminal_is_one_line(built: Build) -> None:
    arguments = ["-m", "edgeq", "build", *built.arguments, "--epochs", "100000", "--out"]
    out = built.out.with_name("interrupted")
    shown = in_terminal([*arguments, str(out)], columns=200, interrupt_at="Network")
    assert shown.code == 130
    assert "Traceback" not in shown.raw
    errors = [line for line in shown.lines if "error" in line]
    assert errors == ["edgeq: error: interrupted; nothing was changed"]
    assert any(line.startswith("✗ ") for line in shown.lines)
    assert not out.exists()


def test_a_pipe_that_closes_is_no_matter() -> None:
    command = f"{sys.executable} -m edgeq targets show cortex-a75 | head -n 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ended.stdout.startswith("cortex-a75")
    assert ended.stderr == ""


# --- plain lines --------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_log_gets_few_lines(clock: Callable[[float], None], capfd: pytest.CaptureFixture[str]) -> None:
    """Of an hour in 3,600 steps."""
    display = Lines(verbose=False)
    display.stage("Training")
    with display.task("training", 3600) as task:
        for _ in range(3600):
            clock(1)
            task.advance(1, "loss 0.1")
    display.stage("Export")
    display.close(finished=True)
    out, err = capfd.readouterr()
    told = err.splitlines()
    assert out == ""
    assert told[0] == "== Training"
    assert told[1] == "   training: 0 %, 1.0/s, 60 min left, loss 0.1"
    assert 20 < len(told) < 60
    assert told[-3:] == ["   training: 100 %, 1.0/s, loss 0.1", "   took 60 min", "== Export"]


def test_what_an_earlier_call_did_counts_for_the_share_only(
    clock: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """A rate that counts it too promises the end of a resumed training in seconds."""
    with Lines(verbose=True).task("training", 1000, 400) as task:
        for _ in range(2):
            clock(10)
            task.advance()
    assert capfd.readouterr().err.splitlines() == [
        "   training: 40 %, 10 s each, 100 min left",
        "   training: 40 %, 10 s each, 100 min left",
    ]


def test_words() -> None:
    assert [duration(seconds) for seconds in (0.04, 9.94, 9.96, 119, 120, 271, 599.6, 7199, 7800)] == [
        *("0.0 s", "9.9 s", "10 s", "119 s", "2 min", "4 min 31 s", "10 min", "2 h 0 min", "2 h 10 min")
    ]
    assert [rate(*pair) for pair in ((0, 1), (1, 0), (12345, 1), (100, 8), (1, 5), (2, 600))] == [
        *("", "", "12,345/s", "12.5/s", "5.0 s each", "5 min each")
    ]
    assert [size(count) for count in (0, 999, 1000, 9949, 9950, 1_107_176, 9_999_500, 25_600_000)] == [
        *("0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "1,107 kB", "10.0 MB", "25.6 MB")
    ]
