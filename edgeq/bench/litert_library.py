"""LiteRT's C library for the runner: from the package installed here, or out of the same version's wheel for ARM."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq.bench.guest import GuestProgram
from edgeq.bench.wheels import Wheel, wheel_members
from edgeq.errors import EdgeqError
from edgeq.progress import Progress, Silent
from edgeq.targets import Target

__all__ = ["LITERT_PACKAGES", "LiteRtLibrary", "litert_guest", "litert_library"]

PROJECT = "ai-edge-litert"
OLDEST = (2, 3)
"""Since then the functions that read a model take the environment first; the runner declares them so."""

LITERT_PACKAGES = ("libc6", "libgcc-s1", "libstdc++6")
"""Debian's packages of what the runner and the library link."""

_PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")
_RUNTIME = "ai_edge_litert/libLiteRt.so"
_SYMBOLS = "ai_edge_litert/libpywrap_litert_common.so"
_MOST_BYTES = 1 << 28  # 45 times what version 2.3.0 has


@dataclass(frozen=True, slots=True)
class LiteRtLibrary:
    """LiteRT as machine code.

    Attributes:
        version: of the package.
        runtime: the library with the C API; it has no names of its own functions.
        symbols: a library of the same build that has the same kernels with their names, where there is one.
    """

    version: str
    runtime: Path
    symbols: Path | None


def litert_library(arch: Literal["aarch64", "host"], progress: Progress | None = None) -> LiteRtLibrary:
    """LiteRT's C library in the version that is installed here.

    Args:
        arch: ``host`` for the installed one; ``aarch64`` downloads the wheel for ARM once.
        progress: told when there is something to download.

    Raises:
        EdgeqError: LiteRT is not installed, too old for the runner, or its wheel for ARM cannot be downloaded.
        FormatError: the wheel is not what it should be.
    """
    version, folder = _installed()
    if arch == "host":
        runtime, symbols = folder / Path(_RUNTIME).name, folder / Path(_SYMBOLS).name
        if not runtime.is_file():
            raise EdgeqError("LiteRT's C library is missing", where=runtime, remedy=f"install {PROJECT} again")
        return LiteRtLibrary(version, runtime, symbols if symbols.is_file() else None)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = Wheel(PROJECT, version, _PLATFORMS, python)
    unpacked = wheel_members(wheel, {_RUNTIME: _MOST_BYTES, _SYMBOLS: _MOST_BYTES}, progress or Silent())
    return LiteRtLibrary(version, unpacked / _RUNTIME, unpacked / _SYMBOLS)


def litert_guest(target: Target, progress: Progress | None = None) -> GuestProgram:
    """The LiteRT runner as aarch64 code on one core of a target.

    Raises:
        EdgeqError: a compiler, a Debian package or the wheel is missing and cannot be had.
    """
    from edgeq.bench.sysroot import guest_root
    from edgeq.bench.toolchain import build_program

    progress = progress or Silent()
    library = litert_library("aarch64", progress)
    return GuestProgram(
        program=build_program("litert_runner.c", "aarch64"),
        arguments=(),
        root=guest_root("aarch64", target, LITERT_PACKAGES, progress),
        environment={"EDGEQ_LITERT": str(library.runtime)},
        symbols=() if library.symbols is None else (library.symbols,),
    )


def _installed() -> tuple[str, Path]:
    remedy = f"pip install '{PROJECT}>={OLDEST[0]}.{OLDEST[1]}'"
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise EdgeqError("LiteRT is not installed", remedy=remedy)
    try:
        version = importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError as error:
        raise EdgeqError("the version of the installed LiteRT is not known", remedy=remedy) from error
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    if numbers < OLDEST:
        wanted = f">= {OLDEST[0]}.{OLDEST[1]}"
        raise EdgeqError("this LiteRT is too old for the runner", got=version, wanted=wanted, remedy=remedy)
    return version, Path(next(iter(spec.submodule_search_locations)))
