"""The XNNPACK runner as ARM code: compiled against Debian 12's XNNPACK of February 2022, in a root that has it."""

from __future__ import annotations

from pathlib import Path

from edgeq.bench.guest import GuestProgram
from edgeq.progress import Progress
from edgeq.targets import Arch, Target

__all__ = ["XNNPACK_PACKAGES", "xnnpack_guest", "xnnpack_program"]

XNNPACK_PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6"),
    *("libcpuinfo0", "libpthreadpool-dev", "libpthreadpool0", "libxnnpack-dev", "libxnnpack0"),
)
"""Debian's packages of the library, its headers, and all that the runner links."""

# GCC must not fuse a multiplication and an addition: the runner's own operations round as TFLite's do.
_FLAGS: dict[Arch, tuple[str, ...]] = {
    "aarch64": ("-O3", "-ffp-contract=off"),
    "armhf": ("-O3", "-ffp-contract=off", "-march=armv7-a", "-mfpu=neon", "-mtune=cortex-a7"),
}


def xnnpack_program(arch: Arch = "armhf", progress: Progress | None = None) -> Path:
    """The XNNPACK runner, compiled; it reads files of :func:`edgeq.bench.xnnpack_graph.encode_graph`.

    Args:
        arch: what it is compiled for; armhf is any ARMv7 with NEON.
        progress: told when something is downloaded.

    Raises:
        EdgeqError: a compiler or a Debian package is missing and cannot be had.
    """
    from edgeq.bench.sysroot import library_folders, sysroot
    from edgeq.bench.toolchain import build_program

    base = sysroot(arch, XNNPACK_PACKAGES, progress)
    return build_program(
        "xnnpack_runner.c",
        arch,
        flags=_FLAGS[arch],
        include=(base / "usr" / "include",),
        library_folders=library_folders(base, arch),
        libraries=("XNNPACK", "pthreadpool", "m"),
    )


def xnnpack_guest(target: Target, progress: Progress | None = None, arch: Arch = "armhf") -> GuestProgram:
    """The XNNPACK runner on one core of a target.

    Args:
        target: whose core the guest sees.
        progress: told when something is downloaded.
        arch: as of :func:`xnnpack_program`.

    Raises:
        EdgeqError: as of :func:`xnnpack_program`.
    """
    from edgeq.bench.sysroot import guest_root

    root = guest_root(arch, target, XNNPACK_PACKAGES, progress)
    return GuestProgram(program=xnnpack_program(arch, progress), arguments=(), root=root)
