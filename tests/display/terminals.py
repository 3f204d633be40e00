"""A program in a pseudo-terminal of a given width."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass

__all__ = ["Shown", "in_terminal"]


@dataclass(frozen=True)
class Shown:
    """What a terminal got."""

    code: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """Every state of every line, without colours and movements."""
        return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw))


def in_terminal(
    arguments: list[str], *, columns: int = 100, interrupt_at: str = "", encoding: str = "utf-8", **variables: str
) -> Shown:
    """Run Python with a terminal as all its streams; Ctrl-C is typed when ``interrupt_at`` is shown."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    unwanted = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": encoding} | variables
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=side,
        stdout=side,
        stderr=side,
        env=environment,
        start_new_session=True,
    )
    os.close(side)
    raw, typed = b"", not interrupt_at
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while part := os.read(main, 65536):
            raw += part
            if not typed and interrupt_at in raw.decode(encoding, "replace"):
                typed = True
                os.killpg(process.pid, signal.SIGINT)
    os.close(main)
    return Shown(process.wait(timeout=60), raw.decode(encoding, "replace"))
