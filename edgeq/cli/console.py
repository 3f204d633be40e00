"""What a person sees while edgeq works: stage headers and progress bars on a terminal, plain lines elsewhere.

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

__all__ = ["Verbosity", "make_progress", "print_table"]

Verbosity = Literal["quiet", "normal", "verbose"]

PLAIN_INTERVAL_S = 10.0


def make_progress(verbosity: Verbosity = "normal") -> Progress:
    """The progress display for this terminal, or lack of one."""
    if verbosity == "quiet":
        return _Quiet()
    return _Terminal() if sys.stderr.isatty() else _Plain(verbosity)


class _Quiet(Silent):
    """Warnings only."""

    def warn(self, text: str) -> None:
        _warn(text)


def _warn(text: str) -> None:
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


class _Plain:
    """A line a stage, and for long tasks a line every ten seconds."""

    def __init__(self, verbosity: Verbosity) -> None:
        self.verbose = verbosity == "verbose"

    def stage(self, title: str) -> None:
        click.echo(f"== {title}", err=True)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        yield _PlainTask(label, total, self.verbose)

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def warn(self, text: str) -> None:
        _warn(text)


class _PlainTask:
    def __init__(self, label: str, total: int, verbose: bool) -> None:
        self.label, self.total, self.done = label, total, 0
        self.interval = 0.0 if verbose else PLAIN_INTERVAL_S
        self.start = self.last = time.monotonic()

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units
        now = time.monotonic()
        if now - self.last < self.interval or not self.total:
            return
        self.last = now
        left = (now - self.start) * (self.total - self.done) / max(self.done, 1)
        tail = f", {note}" if note else ""
        click.echo(f"   {self.label}: {100 * self.done / self.total:.0f} %, {left:.0f} s left{tail}", err=True)


class _Terminal:
    """rich's bars: share, rate, time left and a note."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    def stage(self, title: str) -> None:
        self.console.print(f"[bold]{title}[/bold]")

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[Task]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns: list[Any] = [
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}", markup=True),
        ]
        if not label or not total:
            with Silent().task(label, total) as silent:
                yield silent
            return
        with Bars(*columns, console=self.console, transient=True) as bars:
            yield _BarTask(bars, bars.add_task(label, total=total, note="", rate=""))

    def note(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def warn(self, text: str) -> None:
        _warn(text)


class _BarTask:
    def __init__(self, bars: Any, task: Any) -> None:
        self.bars, self.task, self.start, self.done = bars, task, time.monotonic(), 0

    def advance(self, units: int = 1, note: str = "") -> None:
        from rich.markup import escape

        self.done += units
        fields = {"note": escape(note)} if note else {}
        elapsed = time.monotonic() - self.start
        if elapsed > 0:
            fields["rate"] = f"{self.done / elapsed:,.0f}/s"
        self.bars.update(self.task, advance=units, **fields)


def print_table(title: str, columns: list[str], rows: list[list[str]], *, right: set[int] | None = None) -> None:
    """A table on stdout: drawn on a terminal, columns of plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", header_style="bold")
        for i, name in enumerate(columns):
            table.add_column(name, justify="right" if i in (right or set()) else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console(highlight=False).print(table)
        return
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    if title:
        click.echo(title)
    for row in [columns, *rows]:
        cells = [
            cell.rjust(width) if i in (right or set()) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
