"""Files of /sys read on the device while a program runs there: the script is pushed, its notes are fetched and read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgeq.bench.transport import Completed, Transport
from edgeq.errors import EdgeqError

__all__ = ["Round", "Samples", "run_sampled"]

_NOTES_BYTES = 64 << 20
_ROUND = re.compile(r"t (\d+\.?\d*)")
_LINE = re.compile(r"(\d{1,6}) (.*)")
_END = re.compile(r"end (\d+\.?\d*)")


@dataclass(frozen=True, slots=True)
class Round:
    """All files read once.

    Attributes:
        at_s: when the round began, in seconds of the device's uptime, to 0.01 s.
        texts: path to content, without the last line break; a file that could not be read is not there.
    """

    at_s: float
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """What was read beside a program.

    Attributes:
        rounds: in order of time.
        end_s: when the program ended, in seconds of the device's uptime; None where the notes do not say.
    """

    rounds: tuple[Round, ...]
    end_s: float | None

    def last(self, seconds: float) -> tuple[Round, ...]:
        """The rounds that lie within the last ``seconds`` before the program's end."""
        if self.end_s is None:
            return ()
        return tuple(item for item in self.rounds if self.end_s - seconds <= item.at_s <= self.end_s)


def run_sampled(
    transport: Transport,
    argv: Sequence[str],
    files: Sequence[str],
    *,
    interval_s: float,
    timeout_s: float,
) -> tuple[Completed, Samples]:
    """Run a program on a device and read ``files`` there every ``interval_s`` meanwhile.

    Without files it runs alone. Where the notes cannot be kept (a full disk), the samples are empty.

    Raises:
        EdgeqError: as :meth:`Transport.run`.
    """
    if not files:
        return transport.run(argv, timeout_s), Samples((), None)
    script = transport.push(Path(__file__).with_name("sample.sh"))
    with TemporaryDirectory() as here:
        wanted = Path(here, "sampled-files")
        wanted.write_text("".join(f"{path}\n" for path in files))
        notes = f"{transport.folder}/samples"
        command = ["sh", script, transport.push(wanted), notes, f"{interval_s:g}", *argv]
        done = transport.run(command, timeout_s)
        fetched = Path(here, "samples")
        try:
            transport.pull(notes, fetched, limit_bytes=_NOTES_BYTES)
        except EdgeqError:
            return done, Samples((), None)
        return done, read_notes(fetched.read_text(errors="replace"), files)


def read_notes(text: str, files: Sequence[str]) -> Samples:
    """Read what ``sample.sh`` wrote; a line that is no line of it is skipped, and so is the last, unfinished round."""
    rounds: list[Round] = []
    lines: dict[str, list[str]] = {}
    at_s: float | None = None
    end_s: float | None = None

    def finish() -> None:
        if at_s is not None and math.isfinite(at_s):
            rounds.append(Round(at_s, {path: "\n".join(parts) for path, parts in lines.items()}))

    for line in text.splitlines():
        if match := _ROUND.fullmatch(line):
            finish()
            at_s, lines = float(match[1]), {}
        elif match := _END.fullmatch(line):
            end_s = float(match[1])
        elif (match := _LINE.fullmatch(line)) and int(match[1]) < len(files):
            lines.setdefault(files[int(match[1])], []).append(match[2])
    return Samples(tuple(rounds), end_s)
