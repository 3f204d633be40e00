"""Which display of progress suits the terminal, or the lack of one. All of it goes to stderr: stdout holds results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from edgeq.display.terminal import is_live
from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    from edgeq.display.live import Live

__all__ = ["ProgressLike", "Verbosity", "resolve_progress", "showing_progress"]

Verbosity = Literal["quiet", "normal", "verbose"]
ProgressLike = Progress | Literal["auto"] | None
"""``"auto"`` for what suits this terminal, or lack of one; None for silence."""


@contextmanager
def showing_progress(verbosity: Verbosity = "normal") -> Iterator[Progress]:
    """Bars on a terminal, plain lines elsewhere, only warnings if quiet.

    Of bars nothing is left on the screen at the end but a line a stage.
    """
    from edgeq.display.lines import Lines, Quiet

    if verbosity == "quiet":
        yield Quiet()
        return
    display = _live(verbosity == "verbose") if is_live(sys.stderr) else Lines(verbosity == "verbose")
    finished = False
    try:
        yield display
        finished = True
    finally:
        display.close(finished)


def _live(verbose: bool) -> Live:
    from edgeq.display.live import Live

    return Live(verbose)


@contextmanager
def resolve_progress(progress: ProgressLike) -> Iterator[Progress]:
    """What a public function was given, as a :class:`Progress`."""
    if progress == "auto":
        with showing_progress() as shown:
            yield shown
    else:
        yield progress or Silent()
