"""What every transport must do, whatever it goes through; its tests call these. Not a test file itself."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeq.bench.transport import Transport
from edgeq.errors import EdgeqError

__all__ = ["CHECKS", "gone", "processes_with", "script", "wait_for"]


def script(folder: Path, text: str, name: str = "program") -> Path:
    """A shell script that may be run."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def processes_with(mark: str) -> list[str]:
    """Command lines of this machine's processes that hold ``mark``; those that only wait to be reaped have none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line and process.name != str(os.getpid()):
            found.append(line)
    return found


def wait_for(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether something comes to hold in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(mark: str) -> bool:
    """Whether no process with ``mark`` is left, or ends very soon."""
    return wait_for(lambda: not processes_with(mark), 8.0)


def check_files_come_back_as_they_went(transport: Transport, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000 + b"\r\n\x00tail"
    (tmp_path / "data.bin").write_bytes(data)
    remote = transport.push(tmp_path / "data.bin")
    transport.pull(remote, tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == data
    (tmp_path / "data.bin").write_bytes(b"new")
    transport.pull(transport.push(tmp_path / "data.bin"), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == b"new", "a changed file is sent again"


def check_an_empty_file_can_be_pushed(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    transport.pull(transport.push(tmp_path / "empty"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def check_the_executable_bit_is_kept(transport: Transport, tmp_path: Path) -> None:
    runs = transport.push(script(tmp_path, "echo it runs", "runs"))
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    plain = transport.push(tmp_path / "plain")
    assert transport.run([runs], 20).stdout == "it runs\n"
    assert transport.run([plain], 20).returncode in (126, 127)


def check_what_a_program_says_and_how_it_ends(transport: Transport, tmp_path: Path) -> None:
    program = transport.push(script(tmp_path, 'printf "%s|" "$WORD" "$@"; echo wrong >&2; exit 7'))
    words = ["a b", "it's", '"$HOME"', "*", "", "back\\slash", "ü"]
    done = transport.run([program, *words], 20, {"WORD": "x; y $(z)"})
    assert done.returncode == 7
    assert done.stdout == "x; y $(z)|" + "".join(f"{word}|" for word in words)
    assert done.stderr == "wrong\n"


def check_a_program_killed_by_a_signal_shows_it(transport: Transport, tmp_path: Path) -> None:
    assert transport.run([transport.push(script(tmp_path, "kill -SEGV $$"))], 20).returncode == 128 + 11


def check_a_program_runs_in_the_folder_without_input(transport: Transport, tmp_path: Path) -> None:
    done = transport.run([transport.push(script(tmp_path, "pwd; cat"))], 20)
    assert done.stdout.splitlines() == [transport.folder]


def check_a_timeout_ends_all_that_was_started(transport: Transport, tmp_path: Path) -> None:
    program = transport.push(script(tmp_path, "sleep 98765.25 & sleep 98765.5 & echo started; wait"))
    with pytest.raises(EdgeqError, match=r"program did not finish in 1 s and was ended"):
        transport.run([program], 1)
    assert gone("98765.")
    assert transport.run(["echo", "still there"], 20).stdout == "still there\n"


def check_what_a_program_leaves_behind_is_ended(transport: Transport, tmp_path: Path) -> None:
    done = transport.run([transport.push(script(tmp_path, "sleep 87654.5 >/dev/null 2>&1 & echo done"))], 20)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert gone("87654.5")


def check_a_flood_of_output_is_stopped(transport: Transport, tmp_path: Path) -> None:
    program = transport.push(script(tmp_path, "yes flood-of-output-76543"))
    with pytest.raises(EdgeqError, match="program wrote more than 8192 KiB and was ended"):
        transport.run([program], 60)
    assert gone("flood-of-output-76543")


def check_system_files_are_read_or_missed(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n")
    lines = transport.push(tmp_path / "lines")
    found = transport.read_files(["/proc/vers[i]on", "/no/such/*", f"{shlex.quote(transport.folder)}/lin*"])
    assert found == {"/proc/version": Path("/proc/version").read_text().rstrip("\n"), lines: "one\ntwo"}


def check_the_folder_is_private(transport: Transport, tmp_path: Path) -> None:
    assert Path(transport.folder).stat().st_mode & 0o777 == 0o700


CHECKS: list[Callable[[Transport, Path], None]] = [
    value for name, value in sorted(globals().items()) if name.startswith("check_")
]
