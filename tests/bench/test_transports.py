"""--via and the transport to this machine, through each POSIX shell that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transport_checks import CHECKS, gone, processes_with, script, wait_for

from edgeq.bench.transport import Transport, Via, open_transport, parse_via
from edgeq.errors import EdgeqError, RecipeError

SHELLS = ["dash", "bash", "busybox"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("local", Via("local", "local")),
        ("qemu", Via("qemu", "qemu")),
        ("adb", Via("adb", "adb")),
        ("adb:0A1B2C", Via("adb", "adb:0A1B2C", serial="0A1B2C")),
        ("adb:192.0.2.7:5555", Via("adb", "adb:192.0.2.7:5555", serial="192.0.2.7:5555")),
        ("ssh://pi@board", Via("ssh", "ssh://pi@board", host="board", user="pi")),
        ("ssh://board", Via("ssh", "ssh://board", host="board")),
        ("ssh://pi@board:2222", Via("ssh", "ssh://pi@board:2222", host="board", user="pi", port=2222)),
        ("ssh://b/mnt/usb stick/", Via("ssh", "ssh://b/mnt/usb stick/", host="b", folder="/mnt/usb stick")),
        (
            "ssh://pi@[fe80::1%eth0]:22",
            Via("ssh", "ssh://pi@[fe80::1%eth0]:22", host="fe80::1%eth0", user="pi", port=22),
        ),
    ],
)
def test_via(text: str, wanted: Via) -> None:
    assert parse_via(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "Local", "usb", "qemu:x", "local/", "adb:", "adb:-s", "adb:a b", "ssh", "ssh:", "ssh://", "ssh://a b"),
        *(
            "ssh://-oProxyCommand=x",
            "ssh://u@",
            "ssh://h:x",
            "ssh://h:0",
            "ssh://h:65536",
            "ssh://-x@h",
            "ssh://h/a\nb",
        ),
    ],
)
def test_bad_via_is_one_line(text: str) -> None:
    with pytest.raises(RecipeError, match="--via") as caught:
        parse_via(text)
    assert "\n" not in str(caught.value)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(RecipeError, match="password") as caught:
        parse_via("ssh://pi:hunter2@board")
    assert "hunter2" not in str(caught.value)


def test_qemu_is_no_device() -> None:
    with pytest.raises(RecipeError, match="qemu is no device"):
        open_transport(parse_via("qemu"))


@pytest.fixture(params=SHELLS)
def userland(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose ``sh`` is the shell named; with busybox, whose every program is busybox."""
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "programs"
    programs.mkdir()
    if request.param == "busybox":
        for name in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split():
            (programs / name).symlink_to(program)
        monkeypatch.setenv("PATH", str(programs))
    else:
        (programs / "sh").symlink_to(program)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.fixture
def device(userland: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    (tmp_path / "with space").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "with space"))
    with open_transport(parse_via("local")) as transport:
        yield transport
    assert not list((tmp_path / "with space").iterdir()), "the folder is removed"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_local(check: Callable[[Transport, Path], None], device: Transport, tmp_path: Path) -> None:
    check(device, tmp_path)


def test_the_folder_is_removed_after_an_error() -> None:
    transport = open_transport(parse_via("local"))
    folders = []

    def work() -> None:
        with transport:
            folders.append(Path(transport.folder))
            assert folders[0].is_dir()
            transport.push(Path(transport.folder) / "absent")

    with pytest.raises(EdgeqError, match="cannot be read"):
        work()
    assert len(folders) == 1
    assert not folders[0].exists()


def test_nothing_is_left_when_edgeq_is_killed(userland: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "from edgeq.bench.transport import *\n"
        "with open_transport(parse_via('local')) as t: t.run(['sh', '-c', 'sleep 65432.5 & sleep 65432.25'], 60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            assert wait_for(lambda: "sleep 65432.25 " in processes_with("sleep 65432"))
            assert list(tmp_path.glob("edgeq.*"))
        finally:
            process.kill()
    assert gone("65432.")
    assert wait_for(lambda: not list(tmp_path.glob("edgeq.*")))


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    with pytest.raises(EdgeqError, match="local: no folder could be made on the device"):
        open_transport(parse_via("local")).__enter__()


@pytest.mark.parametrize("name", ["../up", "-n", ".hidden", "a b", "", "a\nb", "a/b"])
def test_odd_names_are_not_pushed(name: str, tmp_path: Path) -> None:
    file = script(tmp_path, "true")
    with (
        open_transport(parse_via("local")) as transport,
        pytest.raises(EdgeqError, match="a file name that a device should not get"),
    ):
        transport.push(file, name)


def test_what_is_not_there_is_not_pushed_or_pulled(tmp_path: Path) -> None:
    with open_transport(parse_via("local")) as transport:
        with pytest.raises(EdgeqError, match=r"absent: cannot be read \(got No such file"):
            transport.push(tmp_path / "absent")
        with pytest.raises(EdgeqError, match=r"local:.*/absent: could not be copied from the device"):
            transport.pull(f"{transport.folder}/absent", tmp_path / "here")
        with pytest.raises(EdgeqError, match="wrote more than 1 KiB"):
            transport.pull(transport.push(script(tmp_path, "#" * 2000)), tmp_path / "here", limit_bytes=1024)
        assert not (tmp_path / "here").exists()
        with pytest.raises(RecipeError, match="no name of an environment variable"):
            transport.run(["true"], 5, {"A;B": "x"})
