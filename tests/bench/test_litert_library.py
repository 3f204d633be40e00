from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeq.bench import wheels
from edgeq.bench.litert_library import litert_library
from edgeq.errors import EdgeqError, FormatError
from edgeq.progress import Silent

MEMBERS = {"ai_edge_litert/libLiteRt.so": b"runtime", "ai_edge_litert/libpywrap_litert_common.so": b"symbols"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], None], int, bytes], list[list[str]]]:
    """In pip's place: puts something into the folder it was told, and ends as told. Gives the commands it got."""

    def install(answer: Callable[[Path], None], status: int, stderr: bytes) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
            commands.append(command)
            (target,) = (part.split("=", 1)[1] for part in command if part.startswith("--dest="))
            answer(Path(target) / "a.whl")
            return subprocess.CompletedProcess(command, status, b"", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return install


def write_wheel(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def nothing(path: Path) -> None:
    pass


def test_the_host_has_the_functions_that_the_runner_calls() -> None:
    found = litert_library("host")
    assert found.version == importlib.metadata.version("ai-edge-litert")
    assert ctypes.CDLL(str(found.runtime)).LiteRtCreateCompiledModel


def test_two_files_of_the_wheel_are_kept_and_downloaded_once(pip: Any) -> None:
    commands = pip(
        lambda path: write_wheel(path, {**MEMBERS, "../evil": b"x", "ai_edge_litert/other.so": b"x"}), 0, b""
    )
    found = litert_library("aarch64")
    assert found.symbols is not None
    assert (found.runtime.read_bytes(), found.symbols.read_bytes()) == (b"runtime", b"symbols")
    assert sorted(path.name for path in found.runtime.parent.parent.rglob("*")) == [
        "ai_edge_litert",
        "libLiteRt.so",
        "libpywrap_litert_common.so",
    ]
    assert litert_library("aarch64") == found
    (command,) = commands
    assert f"ai-edge-litert=={found.version}" in command
    assert "--platform=manylinux_2_27_aarch64" in command


def test_no_network_is_one_line_with_a_remedy(pip: Any) -> None:
    stderr = b"WARNING: Retrying\nERROR: Could not find a version that satisfies\nERROR: No matching distribution\n"
    pip(nothing, 1, stderr)
    with pytest.raises(EdgeqError, match=r"Could not find a version.*check the network") as caught:
        litert_library("aarch64")
    assert "\n" not in str(caught.value)


def test_a_download_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EdgeqError, match="no answer within"):
        litert_library("aarch64")


def broken(path: Path) -> None:
    write_wheel(path, MEMBERS)
    path.write_bytes(path.read_bytes()[:-30])


def damaged(path: Path) -> None:
    write_wheel(path, MEMBERS)
    data = bytearray(path.read_bytes())
    data[data.index(b"libLiteRt.so") + 13] ^= 0xFF  # in the first member's compressed bytes
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (broken, "no whole wheel"),
        (damaged, "no whole wheel"),
        (lambda path: path.write_bytes(b""), "no whole wheel"),
        (lambda path: write_wheel(path, {"ai_edge_litert/libLiteRt.so": b""}), "lacks a file"),
    ],
)
def test_a_wheel_that_is_not_whole_is_refused_and_not_kept(
    pip: Any, tmp_path: Path, answer: Callable[[Path], None], message: str
) -> None:
    pip(answer, 0, b"")
    with pytest.raises(FormatError, match=message):
        litert_library("aarch64")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_member_that_is_too_large_is_not_unpacked(pip: Any) -> None:
    pip(lambda path: write_wheel(path, {"big": bytes(1001)}), 0, b"")
    wheel = wheels.Wheel("project", "1", ("any",), "3.11")
    with pytest.raises(FormatError, match=r"too large \(got 1001, wanted <= 1000\)"):
        wheels.wheel_members(wheel, {"big": 1000}, Silent())


def test_a_litert_before_the_environment_came_first_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.3")
    with pytest.raises(EdgeqError, match=r"too old .*got 2\.1\.3, wanted >= 2\.3"):
        litert_library("host")


def test_no_litert_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EdgeqError, match="LiteRT is not installed; pip install"):
        litert_library("host")
