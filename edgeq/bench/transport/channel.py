"""One command on a device while it runs: what goes in, what comes out, how long, how much. No quoting, no folders."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Captured", "Channel", "PipeChannel", "capture"]

_PIECE_BYTES = 1 << 16
_GRACE_S = 5.0
"""How long the far side has to end by itself once its input is closed."""


class Channel(Protocol):
    """A running command. Reading blocks and gives ``b""`` at the end, also when the connection broke."""

    def write(self, data: bytes) -> None:
        """Send all of ``data`` to its standard input; OSError where it no longer listens."""

    def close_input(self) -> None:
        """End its standard input."""

    def read_output(self, size: int) -> bytes:
        """At most ``size`` bytes of its standard output."""

    def read_errors(self, size: int) -> bytes:
        """At most ``size`` bytes of its standard error."""

    def close(self, grace_s: float) -> None:
        """End its standard input, wait ``grace_s`` for it to finish, then cut it off."""


class PipeChannel:
    """A :class:`Channel` to a program of this machine: the shell itself, or a client such as ``adb``."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        # A session of its own: Ctrl-C reaches edgeq alone, which then ends the program in order.
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        assert streams[0] is not None and streams[1] is not None and streams[2] is not None
        self._input, self._output, self._errors = streams[0], streams[1], streams[2]

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._input.write(view) or 0 :]

    def close_input(self) -> None:
        with suppress(OSError):
            self._input.close()

    def read_output(self, size: int) -> bytes:
        return self._output.read(size) or b""

    def read_errors(self, size: int) -> bytes:
        return self._errors.read(size) or b""

    def close(self, grace_s: float) -> None:
        self.close_input()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close_pipes(self) -> None:
        """Give the file descriptors back, after the readers have ended."""
        for stream in (self._output, self._errors):
            with suppress(OSError):
                stream.close()


@dataclass(frozen=True, slots=True)
class Captured:
    """What came back from a command.

    Attributes:
        stdout, stderr: as far as they were kept.
        ended: why reading stopped: the command ended, its time was over, or it wrote more than it may.
    """

    stdout: bytes
    stderr: bytes
    ended: Literal["end", "timeout", "overflow"]


class _Reader(threading.Thread):
    """Reads a stream to its end, and keeps no more than ``limit`` bytes of it."""

    def __init__(self, read: Callable[[int], bytes], limit: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._read, self._limit, self._stop_event = read, limit, stop
        self.data = bytearray()
        self.overflow = False

    def run(self) -> None:
        with suppress(OSError, EOFError, ValueError):  # ValueError: closed under the reader
            while piece := self._read(_PIECE_BYTES):
                # The rest is read too, and dropped: a client that cannot write does not notice that its input ended.
                if self.overflow or len(self.data) + len(piece) > self._limit:
                    self.overflow = True
                    self._stop_event.set()
                else:
                    self.data += piece


def _write_all(channel: Channel, data: Iterable[bytes], stop: threading.Event) -> None:
    # That the other side stopped listening shows in what it says and in its status.
    with suppress(OSError, EOFError, ValueError):
        for piece in data:
            if stop.is_set():
                return
            channel.write(piece)
        channel.close_input()


def capture(channel: Channel, *, timeout_s: float, limit_bytes: int, data: Iterable[bytes] | None = None) -> Captured:
    """Run a command to its end.

    Args:
        channel: the command; closed on return in any case.
        timeout_s: how long it may take.
        limit_bytes: how much it may write to either stream.
        data: for its standard input, which then ends. None keeps the input open until the command is done.
    """
    stop = threading.Event()
    readers = [_Reader(read, limit_bytes, stop) for read in (channel.read_output, channel.read_errors)]
    threads: list[threading.Thread] = list(readers)
    if data is not None:
        threads.append(threading.Thread(target=_write_all, args=(channel, data, stop), daemon=True))
    deadline = time.monotonic() + timeout_s
    ended: Literal["end", "timeout", "overflow"] = "timeout"
    try:
        for thread in threads:
            thread.start()
        while time.monotonic() < deadline and not stop.is_set():
            waiting = next((reader for reader in readers if reader.is_alive()), None)
            if waiting is None:
                ended = "end"
                break
            waiting.join(min(0.05, max(0.0, deadline - time.monotonic())))
    finally:
        stop.set()
        channel.close(_GRACE_S)
        for thread in threads:
            if thread.ident is not None:
                thread.join(_GRACE_S)
        if isinstance(channel, PipeChannel):
            channel.close_pipes()
    if any(reader.overflow for reader in readers):
        ended = "overflow"
    return Captured(bytes(readers[0].data), bytes(readers[1].data), ended)
