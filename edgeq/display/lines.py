"""Progress in plain lines, for logs: few of them, and fewer the longer something takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from edgeq.display.terminal import colour_setting
from edgeq.display.words import duration, rate
from edgeq.progress import Silent, Task

__all__ = ["Lines", "Quiet"]

FIRST_S = 10.0
SHARE = 0.1  # of the time since the start: an hour's work is told in some 40 lines


class Quiet(Silent):
    """Warnings only."""

    def warn(self, text: str) -> None:
        _warn(text)


class Lines:
    """A line when a stage begins and, if it was long, when it ends; of a long task how far it is."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.start: float | None = None

    def stage(self, title: str) -> None:
        self.close(finished=True)
        self.start = time.monotonic()
        _tell(f"== {title}")

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Task]:
        task = _LinesTask(label, total, done, self.verbose)
        yield task
        if task.note and task.told != task.done:
            task.tell()

    def note(self, text: str) -> None:
        _tell(f"   {text}")

    def warn(self, text: str) -> None:
        _warn(text)

    def close(self, finished: bool) -> None:
        if self.start is not None and finished:
            took = time.monotonic() - self.start
            if self.verbose or took >= FIRST_S:
                _tell(f"   took {duration(took)}")
        self.start = None


class _LinesTask:
    def __init__(self, label: str, total: int, done: int, verbose: bool) -> None:
        self.label, self.total, self.verbose = label, total, verbose
        self.earlier = self.done = self.told = done
        self.note = ""
        self.start = self.last = time.monotonic()

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units
        self.note = note or self.note
        now = time.monotonic()
        pause = 0.0 if self.verbose else max(FIRST_S, SHARE * (now - self.start))
        if self.label and self.total and now - self.last >= pause:
            self.tell()

    def tell(self) -> None:
        self.last, self.told = time.monotonic(), self.done
        took, done = self.last - self.start, self.done - self.earlier
        left = f"{duration(took * (self.total - self.done) / done)} left" if done > 0 and self.done < self.total else ""
        parts = [f"{100 * self.done / max(self.total, 1):.0f} %", rate(done, took), left, self.note]
        _tell(f"   {self.label}: {', '.join(filter(None, parts))}")


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _warn(text: str) -> None:
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True, color=colour_setting())
