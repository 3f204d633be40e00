"""A device behind a POSIX shell: a private folder on it, files to and from it, programs in it. How the shell is reached
is left to local.py, ssh.py and adb.py.

Files go through ``cat`` rather than sftp, which small boards often lack. Whatever is started watches its standard input
and ends when that ends, so a broken connection leaves neither a program nor a file behind.
"""

from __future__ import annotations

import re
import secrets
import shlex
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeq.bench.transport.channel import Captured, Channel, capture
from edgeq.errors import EdgeqError, RecipeError

__all__ = ["Completed", "ShellTransport", "last_line"]

_MIB = 1 << 20
_COMMAND_S = 30.0
_OUTPUT_BYTES = 8 * _MIB
_SLOWEST_BYTES_PER_S = 100_000
"""A push is given up when it takes longer than at this rate: slower than any link to a board that one would use."""
_FOLDER = re.compile(r"/[^\x00-\x1f\x7f]{1,400}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Makes the folder, says where it is, and removes it once its input ends: after the work, or with the connection. A
# program that is being killed at that moment may still write, hence the second try.
_KEEP = (
    'd=$(mktemp -d "$1/edgeq.XXXXXX") || exit 1; trap "" PIPE; trap "exit 1" HUP INT TERM; '
    'trap \'cd /; rm -rf "$d" 2>/dev/null || { sleep 1; rm -rf "$d"; }\' EXIT; '
    'printf "%s\\n" "$d"; while read -r line; do :; done'
)
_PUSH = 'cat >"$1.part" && chmod "$2" "$1.part" && mv -f "$1.part" "$1" && wc -c <"$1" || { rm -f "$1.part"; exit 1; }'
_READ = (
    'for f in {patterns}; do if [ -f "$f" ] && [ -r "$f" ]; then while IFS= read -r l || [ -n "$l" ]; do '
    'printf "%s\\t%s\\n" "$f" "$l"; done <"$f" 2>/dev/null; fi; done; :'
)


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended.

    Attributes:
        returncode: its exit status; 128 + the signal's number where a signal ended it.
        stdout, stderr: what it wrote; what is no UTF-8 is replaced.
    """

    returncode: int
    stdout: str
    stderr: str


def last_line(text: str) -> str | None:
    """The last line of a program's output that says anything, at most 300 characters; None where there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else None


class ShellTransport(ABC):
    """A device; use it in a ``with`` statement, which makes the folder on it and removes it again.

    Attributes:
        label: the device as the user named it, for messages and results.
    """

    def __init__(self, label: str, parent: str) -> None:
        """``parent``: the folder on the device that the private folder is made in; "" for $TMPDIR or /tmp."""
        self.label = label
        self._parent = parent
        self._folder: str | None = None
        self._keeper: Channel | None = None
        self._pushed: dict[str, tuple[object, ...]] = {}

    @abstractmethod
    def _connect(self) -> None:
        """Reach the device; raises EdgeqError."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go of the device; raises nothing."""

    @abstractmethod
    def _start(self, command: str) -> Channel:
        """Start a shell command on the device; raises EdgeqError."""

    @property
    def folder(self) -> str:
        """The private folder on the device."""
        assert self._folder is not None, "used outside its with statement"
        return self._folder

    def __enter__(self) -> Self:
        try:
            self._connect()
            self._folder = self._make_folder()
            script = Path(__file__).with_name("supervise.sh")
            self.push(script)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.close(10.0)
            self._keeper = None
        self._folder = None
        self._disconnect()

    def _make_folder(self) -> str:
        parent = shlex.quote(self._parent) if self._parent else '"${TMPDIR:-/tmp}"'
        # The login shell may be none that knows ${:-}; sh expands it.
        inner = f"set -- {parent}; {_KEEP}"
        keeper = self._keeper = self._start(f"sh -c {shlex.quote(inner)}")
        line = bytearray()
        impatience = threading.Timer(_COMMAND_S, keeper.close, (0.0,))
        impatience.start()
        try:
            while not line.endswith(b"\n") and len(line) < 4096:
                piece = keeper.read_output(1)
                if not piece:
                    break
                line += piece
        finally:
            impatience.cancel()
        folder = line.decode(errors="replace").rstrip("\r\n")
        if not _FOLDER.fullmatch(folder):
            says = folder or keeper.read_errors(4096).decode(errors="replace")
            raise EdgeqError(
                "no folder could be made on the device",
                where=self.label,
                got=last_line(says),
                remedy=f"is {self._parent or '$TMPDIR or /tmp'} there, writable, and not full?",
            )
        return folder

    def push(self, local: Path, name: str | None = None) -> str:
        """Copy a file into the private folder; what is there under that name, unchanged, is not sent again.

        Args:
            local: the file; whoever may run it here may run it there.
            name: its name there; the same as here if not given.

        Returns:
            Its path on the device.

        Raises:
            EdgeqError: no such file, a name with odd characters, a full disk, a time-out, a broken connection.
        """
        name = local.name if name is None else name
        if not _NAME.fullmatch(name):
            raise EdgeqError("a file name that a device should not get", got=repr(name), wanted="letters, digits, _.+-")
        try:
            status = local.stat()
            stream = local.open("rb")
        except OSError as error:
            raise EdgeqError("cannot be read", where=local, got=error.strerror) from error
        target = f"{self.folder}/{name}"
        identity = (local.resolve(), status.st_size, status.st_mtime_ns)
        with stream:
            if not stat.S_ISREG(status.st_mode):
                raise EdgeqError("is no file", where=local)
            if self._pushed.get(name) == identity:
                return target
            mode = "700" if status.st_mode & stat.S_IXUSR else "600"
            timeout_s = _COMMAND_S + status.st_size / _SLOWEST_BYTES_PER_S
            said = self._shell(_PUSH, target, mode, timeout_s=timeout_s, data=iter(lambda: stream.read(_MIB), b""))
        if said.returncode != 0 or said.stdout.strip() != str(status.st_size):
            raise self._push_error(local, status.st_size, said)
        self._pushed[name] = identity
        return target

    def _push_error(self, local: Path, size_bytes: int, said: Completed) -> EdgeqError:
        if "no space left" in said.stderr.lower() or "quota" in said.stderr.lower():
            return EdgeqError(
                "the device's disk is full",
                where=self.label,
                wanted=f"{size_bytes:,} bytes for {local.name} in {self.folder}",
                remedy="free some space there",
            )
        got = last_line(said.stderr) or f"{last_line(said.stdout) or 0} of {size_bytes} bytes"
        return EdgeqError(f"{local.name} could not be copied to the device", where=self.label, got=got)

    def pull(self, remote: str, local: Path, *, limit_bytes: int = 256 * _MIB) -> None:
        """Copy a file of the device here.

        Raises:
            EdgeqError: it is not there, is larger than ``limit_bytes``, cannot be written here, or a broken connection.
        """
        timeout_s = _COMMAND_S + limit_bytes / _SLOWEST_BYTES_PER_S
        captured, status = self._ended('cat -- "$1"', remote, timeout_s=timeout_s, limit_bytes=limit_bytes)
        if status != 0:
            says = last_line(_without_trailer(captured))
            raise EdgeqError("could not be copied from the device", where=f"{self.label}:{remote}", got=says)
        try:
            local.write_bytes(captured.stdout)
        except OSError as error:
            raise EdgeqError("cannot be written", where=local, got=error.strerror) from error

    def read_files(self, patterns: Sequence[str]) -> dict[str, str]:
        """All small text files of the device that match; those that cannot be read are left out.

        Args:
            patterns: shell patterns, taken as they are: never from outside.

        Returns:
            Path to text, without the last line break.
        """
        script = _READ.format(patterns=" ".join(patterns))
        found: dict[str, list[str]] = {}
        for line in self._shell(script, limit_bytes=4 * _MIB).stdout.splitlines():
            path, _, text = line.partition("\t")
            found.setdefault(path, []).append(text)
        return {path: "\n".join(lines) for path, lines in found.items()}

    def run(self, argv: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> Completed:
        """Run a program in the private folder, without standard input, and wait for it.

        A program that fails is no error here; look at :attr:`Completed.returncode`.

        Raises:
            EdgeqError: it took longer than ``timeout_s``, wrote more than 8 MiB, or the connection broke. In each case
                it was killed, with all that it had started.
        """
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        bad = [name for name in environment or {} if not _VARIABLE.fullmatch(name)]
        if bad:
            raise RecipeError("no name of an environment variable", got=repr(bad[0]))
        prefix = ["env", *variables] if variables else []
        token = _new_token()
        # The far side's own limit is for a connection that breaks without either end noticing.
        supervised = ["sh", f"{self.folder}/supervise.sh", str(int(timeout_s) + 15), token, *prefix, *argv]
        captured = capture(self._start(shlex.join(supervised)), timeout_s=timeout_s, limit_bytes=_OUTPUT_BYTES)
        status = self._status(captured, token, timeout_s, _OUTPUT_BYTES, Path(argv[0]).name)
        return Completed(status, captured.stdout.decode(errors="replace"), _without_trailer(captured))

    def _shell(
        self,
        script: str,
        *arguments: str,
        timeout_s: float = _COMMAND_S,
        limit_bytes: int = _MIB,
        data: Iterator[bytes] | None = None,
    ) -> Completed:
        captured, status = self._ended(script, *arguments, timeout_s=timeout_s, limit_bytes=limit_bytes, data=data)
        return Completed(status, captured.stdout.decode(errors="replace"), _without_trailer(captured))

    def _ended(
        self,
        script: str,
        *arguments: str,
        timeout_s: float,
        limit_bytes: int,
        data: Iterator[bytes] | None = None,
    ) -> tuple[Captured, int]:
        token = _new_token()
        whole = f'export LC_ALL=C; ( {script} ); printf "\\n%s %s\\n" "$0" "$?" >&2'
        channel = self._start(shlex.join(["sh", "-c", whole, token, *arguments]))
        captured = capture(channel, timeout_s=timeout_s, limit_bytes=limit_bytes, data=data)
        return captured, self._status(captured, token, timeout_s, limit_bytes, "the device's shell")

    def _status(self, captured: Captured, token: str, timeout_s: float, limit_bytes: int, what: str) -> int:
        if captured.ended == "timeout":
            raise EdgeqError(
                f"{what} did not finish in {timeout_s:g} s and was ended", where=self.label, remedy="allow more time"
            )
        if captured.ended == "overflow":
            raise EdgeqError(f"{what} wrote more than {limit_bytes >> 10} KiB and was ended", where=self.label)
        trailer = re.search(rf"\n{token} (\d+)\s*\Z", captured.stderr.decode(errors="replace"))
        if trailer is None:
            says = last_line(captured.stderr.decode(errors="replace"))
            raise EdgeqError(
                f"the connection broke while {what} ran",
                where=self.label,
                got=says,
                remedy="nothing is left running there; try again",
            )
        return int(trailer[1])


def _new_token() -> str:
    return f"edgeq-{secrets.token_hex(8)}"


def _without_trailer(captured: Captured) -> str:
    return re.sub(r"\nedgeq-[0-9a-f]{16} \d+\s*\Z", "", captured.stderr.decode(errors="replace"))
