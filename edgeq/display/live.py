"""Progress on a terminal: the stage and its time, below it a bar for each task; both are drawn over as work goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Row
from rich.table import Column
from rich.text import Text

from edgeq.display.terminal import is_unicode
from edgeq.display.words import duration, rate
from edgeq.progress import Task

__all__ = ["Live"]

SHORT_S = 0.5  # what took less needs no time beside it
WIDE = 70  # columns of a terminal that has room for rates and notes
NARROW_REST = 24  # columns of a narrow line beside the label
REFRESHES_A_SECOND = 8


class Live:
    """A stage that is over stays as a line with the time that it took, a task that is over with its last note.

    On a narrow terminal bars are short and notes are left out; a line never wraps.
    """

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.console = Console(stderr=True, highlight=False)
        self.unicode = is_unicode(sys.stderr)
        self.title = ""
        self.start = 0.0
        self.bars: Bars | None = None

    def stage(self, title: str) -> None:
        self._end_stage(finished=True)
        self.title, self.start = title, time.monotonic()
        self._open()

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Task]:
        if not label:
            yield _NoTask()
            return
        bars = self._open()
        row = bars.add_task(label, total=total or None, completed=done, note="", rate="", known=bool(total))
        task = _LiveTask(bars, row)
        try:
            yield task
        finally:
            bars.remove_task(row)
        if self.verbose:
            took = time.monotonic() - task.start
            self._line(f"  {label}: {', '.join(filter(None, (duration(took), rate(task.done, took))))}", "dim")
        if task.note:
            self._line(f"  {task.note}", "dim")

    def note(self, text: str) -> None:
        self.console.print(Text(f"  {text}"))

    def warn(self, text: str) -> None:
        self.console.print(Text.assemble(("warning: ", "yellow"), text))

    def close(self, finished: bool) -> None:
        self._end_stage(finished)

    def _open(self) -> Bars:
        if self.bars is None:
            self.bars = _StageBars(self.title, self.console, self.unicode)
            self.bars.start()
        return self.bars

    def _end_stage(self, finished: bool) -> None:
        if self.bars is not None:
            self.bars.stop()
            self.bars = None
        if not self.title:
            return
        took = time.monotonic() - self.start
        mark = ("✓" if finished else "✗") if self.unicode else ("+" if finished else "x")
        line = Text.assemble((mark, "green" if finished else "red"), f" {self.title}")
        if took >= SHORT_S:
            line.append(f"  {duration(took)}", "dim")
        self.console.print(line, no_wrap=True, overflow="ellipsis" if self.unicode else "crop")
        self.title = ""

    def _line(self, text: str, style: str) -> None:
        self.console.print(Text(text, style), no_wrap=True, overflow="ellipsis" if self.unicode else "crop")


class _StageBars(Bars):
    """The stage's line, and the tasks below it."""

    def __init__(self, title: str, console: Console, unicode: bool) -> None:
        self.wide = console.width >= WIDE
        spinner = "dots" if unicode else "line"
        self.header = Bars(SpinnerColumn(spinner), *_texts("{task.description}", unicode), TimeElapsedColumn())
        self.header.add_task(title)
        self.has_title = bool(title)
        room = None if self.wide else max(8, console.width - NARROW_REST)
        columns: list[ProgressColumn] = [*_texts("  {task.description}", unicode, max_width=room)]
        columns.append(BarColumn(bar_width=24 if self.wide else 8))
        columns.append(_Share(self.wide))
        columns.append(TimeRemainingColumn(compact=True))
        if self.wide:
            columns += _texts("{task.fields[note]}", unicode, style="dim", ratio=1)
        super().__init__(
            *columns,
            console=console,
            transient=True,
            expand=self.wide,
            refresh_per_second=REFRESHES_A_SECOND,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.has_title:
            yield self.header.get_renderable()
        if self.tasks:
            yield self.make_tasks_table(self.tasks)


def _texts(
    form: str, unicode: bool, *, style: str = "", ratio: int | None = None, max_width: int | None = None
) -> list[ProgressColumn]:
    column = Column(no_wrap=True, overflow="ellipsis" if unicode else "crop", ratio=ratio, max_width=max_width)
    return [TextColumn(form, style=style or "none", markup=False, table_column=column)]


class _Share(ProgressColumn):
    """Percent and, where there is room, rate; the time so far where the whole is not known."""

    def __init__(self, wide: bool) -> None:
        self.wide = wide
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Row) -> RenderableType:
        if not task.fields["known"]:
            return Text(duration(task.elapsed or 0.0))
        shown = task.fields["rate"] if self.wide else ""
        return Text(f"{task.percentage:3.0f} %  {shown}".rstrip())


class _LiveTask:
    def __init__(self, bars: Bars, row: Any) -> None:
        self.bars, self.row, self.start, self.done, self.note = bars, row, time.monotonic(), 0, ""

    def advance(self, units: int = 1, note: str = "") -> None:
        self.done += units
        self.note = note or self.note
        elapsed = time.monotonic() - self.start
        shown = rate(self.done, elapsed) if elapsed > SHORT_S else ""
        self.bars.update(self.row, advance=units, note=self.note, rate=shown)


class _NoTask:
    def advance(self, units: int = 1, note: str = "") -> None:
        pass
