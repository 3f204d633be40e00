"""Sysroots: what a guest sees of its processor, and packages that come without touching the host's."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from needs import needs_downloads

from edgeq.bench.sysroot import UPDATE_TRIES, core_files, guest_root, library_folders, sysroot
from edgeq.bench.sysroot import Core as SeenCore
from edgeq.errors import EdgeqError
from edgeq.progress import Silent
from edgeq.targets import Arch, list_targets, load_target

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on PATH")


@dataclass(frozen=True)
class Core:
    midr_implementer: int | None = 0x41
    midr_part: int | None = 0xD0A
    midr_variant: int = 2
    features: tuple[str, ...] = ("neon", "fp16", "dotprod")
    clock_hz: float | None = 2.5e9


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))


def cpuinfo(arch: Arch, core: SeenCore) -> dict[str, str]:
    lines = core_files(arch, core)["proc/cpuinfo"].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def test_cpuinfo_tells_of_the_target_as_linux_would() -> None:
    told = cpuinfo("aarch64", Core())
    assert told["CPU implementer"] == "0x41"
    assert told["CPU variant"] == "0x2"
    assert told["CPU part"] == "0xd0a"
    assert told["CPU architecture"] == "8"
    assert {"asimd", "asimdhp", "asimddp"} <= set(told["Features"].split())
    assert "asimddp" not in cpuinfo("aarch64", Core(features=("neon", "fp16")))["Features"].split()
    assert "neon" in cpuinfo("armhf", Core(midr_part=0xC07, features=("neon",)))["Features"].split()


def test_there_is_one_core_with_the_target_s_clock_and_midr() -> None:
    files = core_files("aarch64", Core())
    cpu = "sys/devices/system/cpu"
    assert files[f"{cpu}/possible"] == "0\n"
    assert files[f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq"] == "2500000\n"  # kHz
    # Arm ARM (DDI 0487), MIDR_EL1: implementer 31:24, variant 23:20, architecture 19:16 = 0xF, part 15:4, revision 3:0
    assert files[f"{cpu}/cpu0/regs/identification/midr_el1"] == "0x00000000412fd0a0\n"
    assert not any("cpufreq" in name for name in core_files("aarch64", Core(clock_hz=None)))


@pytest.mark.parametrize("name", list_targets())
def test_every_target_that_can_be_emulated_has_a_core(name: str) -> None:
    target = load_target(name)
    if target.arch is None:
        with pytest.raises(EdgeqError, match="names no midr_implementer and midr_part"):
            core_files("aarch64", target)
    else:
        assert cpuinfo(target.arch, target)["CPU part"] == f"0x{target.midr_part:03x}"


@pytest.mark.parametrize("name", ["", "-oAPT::Foo=1", "libc6 libgcc", "Libc6", "../libc6"])
def test_names_that_are_no_packages_are_refused_before_apt_runs(name: str) -> None:
    with pytest.raises(EdgeqError, match="no name of a Debian package"):
        sysroot("armhf", [name])
    with pytest.raises(EdgeqError, match="no name of a Debian package"):
        sysroot("armhf", [])


def test_without_apt_the_error_says_where_this_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeqError, match=r"apt-get is not installed.*Debian"):
        sysroot("armhf", ["libc6"])


def fake_apt(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def make_package(folder: Path, name: str) -> None:
    content = folder / name
    (content / "DEBIAN").mkdir(parents=True)
    (content / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    library = content / "usr" / "lib" / "aarch64-linux-gnu"
    library.mkdir(parents=True)
    (library / f"{name}.so").write_text(name)
    subprocess.run(["dpkg-deb", "-b", str(content), str(folder / f"{name}_1_all.deb")], check=True, capture_output=True)


@needs_dpkg
def test_packages_are_fetched_once_by_a_private_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "libx")
    log = tmp_path / "log"
    body = f'echo "$@" >>{log}; cat "$3" >>{log}; case $4 in download) cp {tmp_path}/*.deb .;; esac'
    fake_apt(tmp_path / "bin", body, monkeypatch)
    root = sysroot("aarch64", ["libx"])
    assert (root / "lib" / "aarch64-linux-gnu" / "libx.so").read_text() == "libx"  # through /lib -> usr/lib
    assert library_folders(root, "aarch64") == (root / "lib/aarch64-linux-gnu", root / "usr/lib/aarch64-linux-gnu")
    told = log.read_text()
    for line in ("#clear APT::Update;", 'APT::Architecture "arm64";', "Dir::State::lists", "Dir::Cache"):
        assert line in told
    assert sysroot("aarch64", ["libx", "libx"]) == root
    assert log.read_text() == told
    guest = guest_root("aarch64", Core(), ["libx"])
    assert (guest / "proc" / "cpuinfo").is_file()
    assert (guest / "usr" / "lib" / "aarch64-linux-gnu" / "libx.so").is_file()
    assert not (root / "proc").exists()
    assert guest_root("aarch64", Core(midr_part=0xD0B), ["libx"]) != guest


@needs_dpkg
def test_update_is_tried_again_and_lists_that_came_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "liby")
    tries = tmp_path / "tries"
    update = f'echo x >>{tries}; echo "E: unexpected size" >&2; exit 100'
    body = f"case $4 in update) {update};; *) cp {tmp_path}/*.deb .;; esac"
    fake_apt(tmp_path / "bin", body, monkeypatch)
    warnings: list[str] = []

    class Listener(Silent):
        def warn(self, text: str) -> None:
            warnings.append(text)

    assert (sysroot("aarch64", ["liby"], Listener()) / "usr").is_dir()
    assert tries.read_text().count("x") == UPDATE_TRIES
    assert len(warnings) == 1
    assert "unexpected size" in warnings[0]


def test_what_apt_cannot_find_is_one_line_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = 'case $4 in download) echo "E: Unable to locate package libz" >&2; exit 100;; esac'
    fake_apt(tmp_path / "bin", body, monkeypatch)
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(EdgeqError, match="Unable to locate package libz") as caught:
        sysroot("armhf", ["libz"])
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache" / "packages").iterdir()) == []


@needs_downloads
@pytest.mark.slow
@pytest.mark.parametrize("arch", ["aarch64", "armhf"])
def test_debian_s_packages_make_a_sysroot(arch: Arch) -> None:
    lists = Path("/var/lib/apt/lists")
    before = sorted(path.name for path in lists.iterdir()) if lists.is_dir() else []
    root = sysroot(arch, ["libc6", "libgcc-s1"])
    assert any((root / "lib").glob("ld-linux*")) or any((root / "usr" / "lib").glob("ld-linux*"))
    assert (sorted(path.name for path in lists.iterdir()) if lists.is_dir() else []) == before
