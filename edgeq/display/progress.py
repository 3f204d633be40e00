"""What a person sees while edgeq works: stages, bars and times on a terminal, plain lines elsewhere.

Everything goes to stderr, so that stdout holds results only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click

from edgeq.progress import Progress, Silent, Task

__all__ = ["ProgressLike", "Verbosity", "resolve_progress", "showing_progress"]

Verbosity = Literal["quiet", "normal", "verbose"]
ProgressLike = Progress | Literal["auto"] | None
"""``"auto"`` for what suits this terminal, or lack of one; None for silence."""

PLAIN_INTERVAL_S = 10.0
SHORT_S = 0.5  # a stage that took less needs no time beside it


@contextmanager
def showing_progress(verbosity: Verbosity = "normal") -> Iterator[Progress]:
    """The progress display for this terminal, or lack of one; nothing of it is left on the screen at the end but a
    line a stage."""
    if verbosity == "quiet":
        yield _Quiet()
        return
    display = _Terminal() if sys.stderr.isatty() else _Plain(verbosity == "verbose")
    finished = False
    try:
        yield display
        finished = True
    finally:
        display.close(finished)


@contextmanager
def resolve_progress(progress: ProgressLike) -> Iterator[Progress]:
    """What a public function was given, as a :class:`Progress`."""
    if progress == "auto":
        with showing_progress() as shown:
            yield shown
    else:
        yield progress or Silent()


class _Quiet(Silent):
    """Warnings only."""

    def warn(self, text: str) -> None:
        _warn(text)


def _warn(text: str) -> None:
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


# --- lines ------------------------------------------------------------------------------------------------------


class _Plain:
    """A line when a stage begins, one for what a long task said last, and for very long ones a line every ten
    seconds."""

    def __init__(self, verbose: bool) -> None:
        self.interval = 0.0 if verbose else PLAIN_INTERVAL_S

    def stage(self, title: str) -> None:
        click.echo(f"== {title}", err=True)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        task = _PlainTask(label, total, self.interval)
        yield task
        if task.note and task.told != task.done:
            task.tell()

    def note(self, text: str) -> None:
        click.echo(f"   {text}", err=True)

    def warn(self, text: str) -> None:
        _warn(text)

    def close(self, finished: bool) -> None:
        pass


class _PlainTask:
    def __init__(self, label: str, total: int, interval: float) -> None:
        self.label, self.total, self.interval = label, total, interval
        self.done, self.told, self.note = 0, 0, ""
        self.start = self.last = time.monotonic()

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units
        self.note = note or self.note
        if self.total and time.monotonic() - self.last >= self.interval:
            self.tell()

    def tell(self) -> None:
        self.last, self.told = time.monotonic(), self.done
        left = (self.last - self.start) * (self.total - self.done) / max(self.done, 1)
        rest = f", {_duration(left)} left" if self.done < self.total else ""
        tail = f", {self.note}" if self.note else ""
        click.echo(f"   {self.label}: {100 * self.done / max(self.total, 1):.0f} %{rest}{tail}", err=True)


# --- a terminal -------------------------------------------------------------------------------------------------


class _Terminal:
    """One live line: the stage with a spinner and its time, or a bar with share, rate, time left and a note. A stage
    that is over stays as a line with the time that it took."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.title = ""
        self.start = 0.0
        self.spinner: Any = None

    def stage(self, title: str) -> None:
        self._end_stage("✓")
        self.title, self.start = title, time.monotonic()
        self._spin()

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.table import Column

        if not label or not total:
            with Silent().task(label, total) as silent:
                yield silent
            return
        columns: list[Any] = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %  {task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        ]
        self._stop()
        with Bars(*columns, console=self.console, transient=True, expand=True) as bars:
            task = _BarTask(bars, bars.add_task(label, total=total, note="", rate=""))
            yield task
        if task.note:
            self.console.print(f"  {task.note}", markup=False, style="dim")
        self._spin()

    def note(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def warn(self, text: str) -> None:
        from rich.text import Text

        self.console.print(Text.assemble(("warning: ", "yellow"), text))

    def close(self, finished: bool) -> None:
        self._end_stage("✓" if finished else "✗")

    def _spin(self) -> None:
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        self.spinner = Bars(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self.console, transient=True
        )
        self.spinner.add_task(self.title)
        self.spinner.start()

    def _stop(self) -> None:
        if self.spinner is not None:
            self.spinner.stop()
            self.spinner = None

    def _end_stage(self, mark: str) -> None:
        self._stop()
        if self.title:
            took = time.monotonic() - self.start
            time_text = f"  [dim]{_duration(took)}[/dim]" if took >= SHORT_S else ""
            colour = "green" if mark == "✓" else "red"
            self.console.print(f"[{colour}]{mark}[/{colour}] {self.title}{time_text}")
            self.title = ""


class _BarTask:
    def __init__(self, bars: Any, task: Any) -> None:
        self.bars, self.task, self.start, self.done, self.note = bars, task, time.monotonic(), 0, ""

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units
        self.note = note or self.note
        elapsed = time.monotonic() - self.start
        rate = f"{self.done / elapsed:,.0f}/s" if elapsed > SHORT_S else ""
        self.bars.update(self.task, advance=units, note=self.note, rate=rate)


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
