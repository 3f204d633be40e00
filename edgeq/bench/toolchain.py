"""The emulator and the compilers of the bench: found, checked and used; nothing here installs or runs a guest."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgeq.bench.cache import cached, content_key
from edgeq.errors import EdgeqError
from edgeq.resources import data_folder
from edgeq.targets import Arch

__all__ = ["Machine", "build_plugin", "build_program", "find_compiler", "find_qemu", "native_source", "tool_states"]

Machine = Literal["aarch64", "armhf", "host"]

ANSWER_S = 30  # a tool that has not told its version by then does not work
COMPILE_S = 300

_QEMUS: dict[Arch, str] = {"aarch64": "qemu-aarch64", "armhf": "qemu-arm"}
_COMPILERS: dict[Machine, str] = {"aarch64": "aarch64-linux-gnu-gcc", "armhf": "arm-linux-gnueabihf-gcc", "host": "gcc"}
# Debian's names of what has each program, in the order of `edgeq doctor`.
_PACKAGES: dict[str, str] = {
    "qemu-aarch64": "qemu-user",
    "qemu-arm": "qemu-user",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "arm-linux-gnueabihf-gcc": "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
    "gcc": "gcc libc6-dev",
    "apt-get": "apt",
    "dpkg": "dpkg",
}


def find_qemu(arch: Arch) -> Path:
    """The user-mode emulator of an instruction set; one that can count, so with TCG plugins.

    Raises:
        EdgeqError: it is not installed, does not start, or knows no ``-plugin``, as Debian's backport of QEMU 10.
    """
    path = _find(_QEMUS[arch])
    _check_plugins(path, path.stat().st_mtime_ns)
    return path


def find_compiler(arch: Machine) -> Path:
    """The C compiler for an instruction set, or for this machine.

    Raises:
        EdgeqError: it is not installed.
    """
    return _find(_COMPILERS[arch])


def tool_states() -> list[tuple[str, Literal["ok", "absent"], str]]:
    """Each program the bench without a board needs: its name, state, and its version or how to install it."""
    states: list[tuple[str, Literal["ok", "absent"], str]] = []
    for name in _PACKAGES:
        try:
            path = find_qemu("aarch64" if name == "qemu-aarch64" else "armhf") if "qemu" in name else _find(name)
            states.append((name, "ok", _version(path, path.stat().st_mtime_ns)))
        except EdgeqError as error:
            states.append((name, "absent", error.remedy or error.what))
    return states


def native_source(name: str) -> Path:
    """A C, assembly or Python source of ``targets/native``.

    Raises:
        EdgeqError: the installation has lost it.
    """
    path = data_folder("targets") / "native" / name
    if not path.is_file():
        raise EdgeqError("a source file of edgeq is missing", where=path, remedy="install edgeq again")
    return path


def build_program(
    source: str,
    arch: Machine,
    *,
    flags: Sequence[str] = (),
    include: Sequence[Path] = (),
    library_folders: Sequence[Path] = (),
    libraries: Sequence[str] = (),
) -> Path:
    """Compile one source of ``targets/native``, or take it from the cache.

    Args:
        source: file name in ``targets/native``.
        arch: what it shall run on.
        flags: more flags for the compiler.
        include: folders of headers. They and ``library_folders`` count by path: let them be of the cache.
        library_folders: where to find ``libraries``, and what those need in turn.
        libraries: names for ``-l``.

    Returns:
        The program (or shared library), named like its source without the suffix.

    Raises:
        EdgeqError: no compiler, or it refuses the source; the message has its first complaint.
    """
    path, compiler = native_source(source), find_compiler(arch)
    options = [*flags, *(f"-I{folder}" for folder in include), *(f"-L{folder}" for folder in library_folders)]
    options += [*(f"-Wl,-rpath-link,{folder}" for folder in library_folders), *(f"-l{name}" for name in libraries)]
    headers = sorted(path.parent.glob("*.h"))
    version = _version(compiler, compiler.stat().st_mtime_ns)
    parts: list[str | bytes] = [path.name, *(item.read_bytes() for item in (path, *headers))]
    parts += [str(compiler), version, "\0".join(options)]

    def make(folder: Path) -> None:
        command = [str(compiler), "-O2", "-std=gnu11", "-Wall", "-o", str(folder / path.stem), str(path), *options]
        _compile(command, path, _PACKAGES[compiler.name])

    return cached("native", content_key(*parts), make) / path.stem


def build_plugin() -> Path:
    """The TCG plugin that counts, compiled for this machine.

    Raises:
        EdgeqError: as of :func:`build_program`.
    """
    return build_program("count.c", "host", flags=("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"))


def _install(packages: str) -> str:
    return f"install it: sudo apt-get install {packages}"


def _find(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise EdgeqError(f"{name} is not installed", remedy=_install(_PACKAGES[name]))
    return Path(found)


@functools.cache
def _check_plugins(path: Path, mtime_ns: int) -> None:
    text = _answer(path, "-h")
    if not any(line.startswith("-plugin") for line in text.splitlines()):
        version = _version(path, mtime_ns)
        remedy = "install Debian 12's qemu-user 7.2 (not the one from backports), or one built with --enable-plugins"
        raise EdgeqError("this QEMU takes no -plugin, so it cannot count", where=path, got=version, remedy=remedy)


@functools.cache
def _version(path: Path, mtime_ns: int) -> str:
    lines = _answer(path, "--version").strip().splitlines()
    if not lines:
        raise EdgeqError("tells no version", where=path, remedy=_install(_PACKAGES[path.name]))
    return lines[0]


def _answer(path: Path, option: str) -> str:
    try:
        done = subprocess.run(
            [path, option], capture_output=True, timeout=ANSWER_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeqError("does not start", where=path, got=error, remedy=_install(_PACKAGES[path.name])) from error
    return done.stdout.decode(errors="replace")


def _compile(command: list[str], source: Path, packages: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=COMPILE_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeqError("cannot be compiled", where=source, got=error, remedy=_install(packages)) from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        first = next((line for line in lines if "error" in line or "cannot find" in line), lines[0] if lines else "")
        raise EdgeqError("cannot be compiled", where=source, got=first[:300], remedy=f"needs {packages}")
