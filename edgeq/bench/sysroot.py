"""The files an ARM program sees under QEMU: Debian's packages unpacked in a folder, and one core of a target in /proc
and /sys. The host's own packages and lists are read at most, never changed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgeq.bench.cache import cached, content_key
from edgeq.errors import EdgeqError
from edgeq.progress import Progress, Silent
from edgeq.targets import Arch

__all__ = ["Core", "core_files", "guest_root", "library_folders", "sysroot"]

UPDATE_TRIES = 3  # the index of a ports architecture fails now and then
APT_S = 300
UNPACK_S = 120

_DEBIAN: dict[Arch, str] = {"aarch64": "arm64", "armhf": "armhf"}
_TRIPLETS: dict[Arch, str] = {"aarch64": "aarch64-linux-gnu", "armhf": "arm-linux-gnueabihf"}
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?")
# What Linux prints under Features: arch/arm64/kernel/cpuinfo.c, arch/arm/kernel/setup.c.
_BASE_FEATURES: dict[Arch, str] = {
    "aarch64": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics cpuid asimdrdm",
    "armhf": "half thumb fastmult vfp edsp vfpv3 tls vfpv4 idiva idivt vfpd32 lpae",
}
_FEATURE_WORDS: dict[tuple[Arch, str], str] = {
    ("armhf", "neon"): "neon",
    ("aarch64", "fp16"): "fphp asimdhp",
    ("aarch64", "dotprod"): "asimddp",
    ("aarch64", "i8mm"): "i8mm",
}


class Core(Protocol):
    """What of a :class:`edgeq.targets.Target` a program can see of its processor."""

    @property
    def midr_implementer(self) -> int | None: ...
    @property
    def midr_part(self) -> int | None: ...
    @property
    def midr_variant(self) -> int: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def clock_hz(self) -> float | None: ...


def sysroot(arch: Arch, packages: Sequence[str], progress: Progress | None = None) -> Path:
    """A folder with Debian packages of an architecture unpacked; nothing is installed.

    The versions are those of the first call and stay until the cache is emptied, so that counts can be compared.

    Args:
        arch: whose packages.
        packages: all names, the shared libraries that others need too: dependencies are not followed. ``name=version``
            asks for a version.
        progress: told when something is downloaded.

    Raises:
        EdgeqError: a bad name, no apt, a package the host's sources do not have, or no network.
    """
    names = sorted(set(packages))
    bad = [name for name in names if not _NAME.fullmatch(name)]
    if bad or not names:
        raise EdgeqError("no name of a Debian package", got=", ".join(map(repr, bad)) or "none", wanted="such as libc6")
    request = content_key(arch, *names, *(path.read_bytes() for path in _source_lists()))
    held = cached("packages", request, lambda folder: _download(arch, names, folder, progress or Silent()))
    archives = sorted(held.glob("*.deb"))
    key = content_key(arch, *(part for path in archives for part in (path.name, path.read_bytes())))
    return cached("sysroot", key, lambda folder: _unpack(archives, folder))


def guest_root(arch: Arch, target: Core, packages: Sequence[str], progress: Progress | None = None) -> Path:
    """A :func:`sysroot` in which ``/proc/cpuinfo`` and ``/sys/devices/system/cpu`` tell of one core of a target.

    Libraries choose their kernels by these files; without them they would read the host's.

    Raises:
        EdgeqError: as of :func:`sysroot`, or the target names no part number.
    """
    files = core_files(arch, target)
    base = sysroot(arch, packages, progress)

    def make(folder: Path) -> None:
        shutil.copytree(base, folder, symlinks=True, copy_function=_link, dirs_exist_ok=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")

    return cached("guest", content_key(base.name, *(part for pair in files.items() for part in pair)), make)


def library_folders(root: Path, arch: Arch) -> tuple[Path, ...]:
    """Where the shared libraries of a sysroot lie."""
    folders = (root / "lib" / _TRIPLETS[arch], root / "usr" / "lib" / _TRIPLETS[arch])
    return tuple(folder for folder in folders if folder.is_dir())


def core_files(arch: Arch, target: Core) -> dict[str, str]:
    """The text of each file of /proc and /sys that tells of a processor, by its path without the leading slash.

    Raises:
        EdgeqError: the target names no implementer or part number.
    """
    if target.midr_implementer is None or target.midr_part is None:
        raise EdgeqError("the target names no midr_implementer and midr_part", remedy="add them to its file")
    words = [_BASE_FEATURES[arch], *(_FEATURE_WORDS.get((arch, name), "") for name in target.features)]
    cpuinfo = {
        "processor": "0",
        "Features": " ".join(word for word in words if word),
        "CPU implementer": f"0x{target.midr_implementer:02x}",
        "CPU architecture": "8" if arch == "aarch64" else "7",
        "CPU variant": f"0x{target.midr_variant:x}",
        "CPU part": f"0x{target.midr_part:03x}",
        "CPU revision": "0",
    }
    midr = target.midr_implementer << 24 | target.midr_variant << 20 | 0xF << 16 | target.midr_part << 4
    cpu = "sys/devices/system/cpu"
    files = {f"{cpu}/{name}": "0\n" for name in ("online", "possible", "present", "kernel_max")}
    names = ("physical_package_id", "core_id", "core_siblings_list", "thread_siblings_list")
    files |= {f"{cpu}/cpu0/topology/{name}": "0\n" for name in names}
    files |= {f"{cpu}/cpu0/topology/{name}": "1\n" for name in ("core_siblings", "thread_siblings")}
    files[f"{cpu}/cpu0/regs/identification/midr_el1"] = f"0x{midr:016x}\n"
    files["proc/cpuinfo"] = "".join(f"{name}\t: {value}\n" for name, value in cpuinfo.items()) + "\n"
    if target.clock_hz:
        khz = f"{round(target.clock_hz / 1000)}\n"
        files |= {f"{cpu}/cpu0/cpufreq/cpuinfo_{name}_freq": khz for name in ("min", "max")}
    return files


def _source_lists() -> list[Path]:
    base = Path("/etc/apt")
    parts = (base / "sources.list.d").glob("*") if (base / "sources.list.d").is_dir() else iter(())
    listed = (path for path in parts if path.suffix in (".list", ".sources"))
    return sorted(path for path in (base / "sources.list", *listed) if path.is_file() and os.access(path, os.R_OK))


def _download(arch: Arch, names: list[str], folder: Path, progress: Progress) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            remedy = "use a Debian or Ubuntu machine or container"
            raise EdgeqError(f"{tool} is not installed, and sysroots are made of Debian packages", remedy=remedy)
    progress.note(f"downloading {len(names)} packages for {_DEBIAN[arch]}")
    private = folder / ".apt"
    settings = _apt_settings(arch, private)
    with progress.task("download packages", 0):
        trouble = _update(settings, folder)
        try:
            _apt(settings, ["download", *names], folder)
        except EdgeqError as error:
            got = error.got if trouble is None else f"{error.got}; {trouble.got}"
            raise EdgeqError(error.what, got=got, remedy=error.remedy) from error
    if trouble:
        progress.warn(f"the lists of packages are not whole, so versions may not be the newest: {trouble.got}")
    shutil.rmtree(private)
    if not any(folder.glob("*.deb")):
        raise EdgeqError("apt-get downloaded no package", got=", ".join(names))


def _update(settings: Path, folder: Path) -> EdgeqError | None:
    """What stays wrong after some tries. The lists that did come may do all the same."""
    trouble = None
    for attempt in range(UPDATE_TRIES):
        time.sleep(attempt)
        try:
            _apt(settings, ["update"], folder)
            return None
        except EdgeqError as error:
            trouble = error
    return trouble


def _apt_settings(arch: Arch, private: Path) -> Path:
    """apt's configuration of a root of its own. The host's hooks after an update are cleared: they act on the host."""
    for name in ("lists/partial", "cache/archives/partial"):
        (private / name).mkdir(parents=True, exist_ok=True)
    (private / "status").touch()
    lines = [
        *("#clear APT::Update;", "#clear DPkg;", "#clear APT::Architectures;"),
        f'APT::Architecture "{_DEBIAN[arch]}";',
        f'APT::Architectures {{ "{_DEBIAN[arch]}"; }};',
        'APT::Sandbox::User "root";',  # apt's own user may not write into the cache
        'APT::Update::Error-Mode "any";',
        'Acquire::Languages "none";',
        'Debug::NoLocking "1";',
        f'Dir::State "{private}";',
        f'Dir::State::lists "{private}/lists";',
        f'Dir::State::status "{private}/status";',
        f'Dir::Cache "{private}/cache";',
        f'Dir::Log "{private}";',
    ]
    path = private / "apt.conf"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _apt(settings: Path, arguments: list[str], folder: Path) -> None:
    # Named by option, as the first of all, the file is read last: after the host's own.
    command = ["apt-get", "-q", "-c", str(settings), *arguments]
    _call(command, folder, APT_S, "apt-get cannot get the packages", "check the network and the names, then try again")


def _unpack(archives: Sequence[Path], folder: Path) -> None:
    for path in archives:
        _call(["dpkg-deb", "-x", str(path), str(folder)], folder, UNPACK_S, f"{path.name} cannot be unpacked", None)
    folder.chmod(0o755)
    for name in ("lib", "lib64"):  # packages of a merged /usr have no /lib, where the ELF interpreter is looked for
        if not (folder / name).exists() and (folder / "usr" / name).is_dir():
            (folder / name).symlink_to(f"usr/{name}")


def _call(command: list[str], folder: Path, timeout_s: float, what: str, remedy: str | None) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeqError(what, got=error, remedy=remedy) from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        told = [line for line in lines if line.startswith(("E:", "W:", "dpkg"))] or lines or [f"exit {done.returncode}"]
        raise EdgeqError(what, got=told[0][:300], remedy=remedy)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        with contextlib.suppress(shutil.SameFileError):
            shutil.copy2(source, target, follow_symlinks=False)
