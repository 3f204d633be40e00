"""Tools are found, checked and named; what is compiled is kept by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeq.bench import toolchain
from edgeq.bench.toolchain import build_plugin, build_program, find_compiler, find_qemu, tool_states
from edgeq.errors import EdgeqError

OLD_HELP = "-cpu model  QEMU_CPU  select CPU\n-plugin  QEMU_PLUGIN  [file=]<file>[,<argname>=<argvalue>]\n"
NEW_HELP = "-cpu model  QEMU_CPU  select CPU\n"


def fake(folder: Path, name: str, help_text: str, version: str) -> None:
    """A program that answers -h and --version."""
    (folder / f"{name}.help").write_text(help_text)
    path = folder / name
    path.write_text(
        f'#!/bin/sh\ncase $1 in -h) while read -r l; do echo "$l"; done <"$0.help";; *) echo "{version}";; esac\n'
    )
    path.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("find", "packages"),
    [
        (lambda: find_qemu("aarch64"), "sudo apt-get install qemu-user"),
        (lambda: find_compiler("aarch64"), "sudo apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
        (lambda: find_compiler("armhf"), "sudo apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"),
        (lambda: find_compiler("host"), "sudo apt-get install gcc libc6-dev"),
    ],
)
@pytest.mark.usefixtures("only")
def test_missing_program_names_the_command_that_installs_it(find, packages: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EdgeqError, match="is not installed") as caught:
        find()
    assert str(caught.value).endswith(packages)


def test_qemu_with_plugins_is_taken(only: Path) -> None:
    fake(only, "qemu-aarch64", OLD_HELP, "qemu-aarch64 version 7.2.22")
    assert find_qemu("aarch64") == only / "qemu-aarch64"


def test_qemu_without_plugins_is_refused_with_its_version(only: Path) -> None:
    fake(only, "qemu-arm", NEW_HELP, "qemu-arm version 10.0.2 (Debian)")
    with pytest.raises(EdgeqError, match=r"takes no -plugin.*got qemu-arm version 10\.0\.2.*qemu-user 7\.2"):
        find_qemu("armhf")


def test_program_that_does_not_start_is_no_traceback(only: Path) -> None:
    (only / "qemu-arm").write_bytes(b"\x7fELF of another machine")
    (only / "qemu-arm").chmod(0o755)
    with pytest.raises(EdgeqError, match="does not start"):
        find_qemu("armhf")


def test_states_tell_what_is_there_and_how_to_get_the_rest(only: Path) -> None:
    fake(only, "qemu-aarch64", OLD_HELP, "qemu-aarch64 version 7.2.22")
    fake(only, "qemu-arm", NEW_HELP, "qemu-arm version 10.0.2")
    states = {name: (state, detail) for name, state, detail in tool_states()}
    assert states["qemu-aarch64"] == ("ok", "qemu-aarch64 version 7.2.22")
    assert states["qemu-arm"][0] == "absent"
    assert "7.2" in states["qemu-arm"][1]
    assert states["gcc"] == ("absent", "install it: sudo apt-get install gcc libc6-dev")


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for targets/native."""
    folder = tmp_path / "targets" / "native"
    folder.mkdir(parents=True)
    monkeypatch.setattr(toolchain, "data_folder", lambda kind: folder.parent)
    return folder


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on PATH")


@needs_gcc
@pytest.mark.usefixtures("cache")
def test_a_program_is_compiled_once_for_its_source_headers_and_flags(native: Path) -> None:
    (native / "a.c").write_text('#include "a.h"\nint main(void) { return VALUE; }\n')
    (native / "a.h").write_text("#define VALUE 0\n")
    first = build_program("a.c", "host")
    made = first.stat().st_mtime_ns
    assert build_program("a.c", "host") == first
    assert first.stat().st_mtime_ns == made
    assert build_program("a.c", "host", flags=("-O1",)) != first
    (native / "a.h").write_text("#define VALUE 1\n")
    assert build_program("a.c", "host") != first


@needs_gcc
def test_a_source_that_does_not_compile_is_one_line_and_leaves_nothing(native: Path, cache: Path) -> None:
    (native / "bad.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(EdgeqError, match=r"bad\.c: cannot be compiled .*'nothing' undeclared") as caught:
        build_program("bad.c", "host")
    assert "\n" not in str(caught.value)
    assert list((cache / "native").iterdir()) == []


@pytest.mark.usefixtures("native")
def test_a_lost_source_says_so() -> None:
    with pytest.raises(EdgeqError, match="a source file of edgeq is missing"):
        build_program("count.c", "host")


@needs_gcc
@pytest.mark.usefixtures("cache")
def test_the_plugin_compiles_without_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = build_program(
        "count.c",
        "host",
        flags=("-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wextra", "-Wno-unused-parameter", "-Werror"),
    )
    assert plugin.is_file()
    assert build_plugin().is_file()
