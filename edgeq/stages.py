"""How long each stage of a build took and how much memory it needed at most."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeq.progress import Progress

__all__ = ["StageClock", "StageTime"]


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage.

    Attributes:
        name: of the stage.
        seconds: wall time.
        peak_rss_mb: largest resident set during the stage, in 10^6 bytes; since the start where the system cannot
            reset it.
    """

    name: str
    seconds: float
    peak_rss_mb: float


class StageClock:
    """Times stages and announces them."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.times: list[StageTime] = []

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        self.progress.stage(title)
        _reset_peak()
        start = time.perf_counter()
        yield
        self.times.append(StageTime(name, round(time.perf_counter() - start, 3), round(_peak_mb(), 1)))


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: resets VmHWM
    except OSError:
        return


def _peak_mb() -> float:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
