"""How long work says where it is: a protocol the library calls and the command line draws. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Progress", "Silent", "Task"]


class Task(Protocol):
    """One step of long work with a known number of units."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` as done; ``note`` is a short text beside the bar, such as the loss."""


class Progress(Protocol):
    """Where long work reports to."""

    def stage(self, title: str) -> None:
        """A new stage begins."""

    def task(self, label: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        """A context manager that shows a bar of ``total`` units and yields its :class:`~edgeq.progress.Task`.

        Args:
            label: what is counted.
            total: units of the whole; 0 where that is not known.
            done: units that an earlier call finished; they count for the share, not for the rate.
        """

    def note(self, text: str) -> None:
        """A fact worth a line."""

    def warn(self, text: str) -> None:
        """Something that the user should know and may want to change."""


class _SilentTask:
    def advance(self, units: int = 1, note: str = "") -> None:
        pass


class Silent:
    """A :class:`Progress` that says nothing; the default of every library function."""

    def stage(self, title: str) -> None:
        pass

    @contextmanager
    def task(self, label: str, total: int, done: int = 0) -> Iterator[Task]:
        yield _SilentTask()

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass
