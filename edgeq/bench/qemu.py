"""Run an ARM program in QEMU's user-mode emulator and count what it executed. Nothing here measures time: how long an
emulator takes says nothing about a device."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.bench.count_file import read_counts
from edgeq.bench.profile import Region
from edgeq.bench.toolchain import build_plugin, find_qemu
from edgeq.errors import EdgeqError
from edgeq.targets import Arch

__all__ = ["MAX_OUTPUT_BYTES", "Run", "run"]

MAX_OUTPUT_BYTES = 16 << 20
_READ_BYTES = 1 << 16
# The same for every run: QEMU's random numbers (the guest's AT_RANDOM), and all symbols bound before main, so that no
# region has the linker's work in it.
_SEED = "1"
_GUEST_ENVIRONMENT = {"LD_BIND_NOW": "1", "LC_ALL": "C"}
_PAGE_BYTES = 4096
_LIMITED = 'ulimit -c 0; exec "$@"'  # or QEMU writes the guest's core dump into the working folder


@dataclass(frozen=True, slots=True)
class Run:
    """What a program left that ended well.

    Attributes:
        stdout: what it printed.
        regions: what ran in each region it marked, by index; empty where nothing was counted.
        threads: how many threads it ever had; counts are exact with one.
    """

    stdout: str
    regions: tuple[Region, ...] = ()
    threads: int = 1


def run(
    program: Path,
    arguments: Sequence[str],
    *,
    arch: Arch,
    cpu: str,
    root: Path,
    library_folders: Sequence[Path] = (),
    count: bool = False,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a program to its end.

    It gets none of this process's environment, a fixed seed, addresses that are not randomized and a stack that begins
    at the same place whatever the paths, so that a program without threads runs the same instructions each time.

    Args:
        program: an ARM executable.
        arguments: what follows its name.
        arch: what it is compiled for.
        cpu: QEMU's name of the CPU to emulate.
        root: where absolute paths are looked for first: the sysroot.
        library_folders: further folders of shared libraries.
        count: whether to count blocks in the regions it marks with ``prctl(0x65647165, region, begin, 0, 0)``.
        timeout_s: wall time after which it is killed, with its children.
        environment: variables it gets.

    Raises:
        EdgeqError: no QEMU that can count; the program crashed, failed, took too long or printed too much; it marked
            its regions wrongly.
    """
    with tempfile.TemporaryDirectory(prefix="edgeq-qemu-") as folder:
        counts = Path(folder) / "counts"
        command = [str(find_qemu(arch)), "-cpu", cpu, "-L", str(root), "-seed", _SEED]
        if count:
            command += ["-plugin", f"{_escaped(build_plugin())},out={_escaped(counts)}"]
        variables = _guest_environment(environment or {}, library_folders)
        variables["EDGEQ_FILL"] = _fill([str(program)] * 2 + [*arguments, *variables, *variables.values()])
        for name, value in variables.items():
            command += ["-E", f"{name}={value}"]
        command += [str(program), *arguments]
        stdout = _run([*_prefix(), *command], program, cpu, timeout_s)
        if not count:
            return Run(stdout)
        if not counts.is_file():
            raise EdgeqError(
                "the program ended without its counts", where=program.name, remedy="it may have called exec"
            )
        threads, regions = read_counts(counts, arch)
    return Run(stdout, regions, threads)


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")  # QEMU's option parser


def _guest_environment(own: Mapping[str, str], library_folders: Sequence[Path]) -> dict[str, str]:
    values = {**_GUEST_ENVIRONMENT, **own}
    if library_folders:
        values["LD_LIBRARY_PATH"] = ":".join(str(folder.resolve()) for folder in library_folders)
    for name, value in values.items():
        if "," in value or "=" in name:
            raise EdgeqError("QEMU passes no comma to a program's environment", where=name, got=repr(value))
    return values


def _fill(texts: Sequence[str]) -> str:
    """What makes a program's arguments and variables fill whole pages, so that where a folder lies moves no stack."""
    return "x" * (-sum(len(os.fsencode(text)) for text in texts) % _PAGE_BYTES)


def _prefix() -> list[str]:
    clean = [shutil.which("env") or "/usr/bin/env", "-i"]  # a shell adds variables, and they move the guest's stack
    return [shutil.which("sh") or "/bin/sh", "-c", _LIMITED, "sh", *clean, *_without_randomization()]


@functools.cache
def _without_randomization() -> tuple[str, ...]:
    """setarch, where there is one and it may: some containers forbid the system call."""
    setarch = shutil.which("setarch")
    if setarch is None:
        return ()
    command = (setarch, "-R")
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if allowed else ()


# --- the process ------------------------------------------------------------------------------------------------------


def _run(command: Sequence[str], program: Path, cpu: str, timeout_s: float) -> str:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath},
        start_new_session=True,
    )
    with process:
        try:
            stdout, stderr = _read(process, program, timeout_s)
        except subprocess.TimeoutExpired:
            raise EdgeqError(f"took longer than {timeout_s:g} s under QEMU and was ended", where=program.name) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise _failure(process.returncode, program, cpu, stderr)
    return stdout.decode(errors="replace")


def _read(process: subprocess.Popen[bytes], program: Path, timeout_s: float) -> tuple[bytes, bytes]:
    """All of stdout and the end of stderr, once the process has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.fileno(), process.stderr.fileno()
    texts = {out: bytearray(), err: bytearray()}
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for pipe in texts:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, timeout_s)
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    selector.unregister(key.fd)
                texts[key.fd] += data
            if len(texts[out]) > MAX_OUTPUT_BYTES:
                raise EdgeqError("prints too much", where=program.name, wanted=f"at most {MAX_OUTPUT_BYTES} bytes")
            del texts[err][:-_READ_BYTES]
    process.wait(max(0.0, deadline - time.monotonic()))
    return bytes(texts[out]), bytes(texts[err])


def _failure(status: int, program: Path, cpu: str, stderr: bytes) -> EdgeqError:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    # QEMU tells of a guest's signal, too; the program's own last word says more.
    own = [line for line in lines if not line.startswith(("qemu: uncaught target signal", "Illegal instruction"))]
    last = own[-1][:400] if own else None
    if status == -signal.SIGILL:
        what = f"illegal instruction (SIGILL): the program uses one that QEMU's {cpu} lacks"
        return EdgeqError(what, where=program.name, got=last, remedy="choose a target that has it")
    if status < 0:
        return EdgeqError(f"crashed with {signal.Signals(-status).name}", where=program.name, got=last)
    return EdgeqError(f"failed with exit status {status}", where=program.name, got=last)
