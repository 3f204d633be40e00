"""adb with the real client and the real server of the machine; the device behind them is fake_adbd.py."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_adbd import FakeAdbd
from transport_checks import CHECKS, gone, processes_with, script, wait_for

from edgeq.bench.transport import Transport, open_transport, parse_via
from edgeq.bench.transport import adb as adb_module
from edgeq.bench.transport.adb import AdbTransport
from edgeq.errors import EdgeqError, RecipeError

needs_adb = pytest.mark.skipif(shutil.which("adb") is None, reason="no adb: apt-get install adb")


@pytest.fixture(scope="module")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs adb commands at a server of the tests' own, which sees no device that someone else has connected."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("adb-home")))  # its keys
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("adb-log")))
        patch.delenv("ANDROID_SERIAL", raising=False)

        def run(*arguments: str) -> str:
            done = subprocess.run(["adb", *arguments], capture_output=True, text=True, timeout=60)
            return done.stdout + done.stderr

        run("start-server")
        try:
            if "\tdevice" in run("devices"):
                pytest.skip("a device is plugged into this machine")
            yield run
        finally:
            run("kill-server")


@pytest.fixture
def plug(adb: Callable[..., str]) -> Iterator[Callable[[FakeAdbd], FakeAdbd]]:
    plugged: list[FakeAdbd] = []

    def add(device: FakeAdbd) -> FakeAdbd:
        plugged.append(device)
        adb("connect", device.serial)
        assert wait_for(lambda: f"{device.serial}\t{device.state}" in adb("devices")), adb("devices")
        return device

    yield add
    for device in plugged:
        adb("disconnect", device.serial)
        device.unplug()


def _open(device: FakeAdbd, parent: Path) -> AdbTransport:
    return AdbTransport(parse_via(f"adb:{device.serial}"), str(parent))


@pytest.fixture
def device(plug: Callable[[FakeAdbd], FakeAdbd], tmp_path: Path) -> Iterator[Transport]:
    (tmp_path / "on the device").mkdir()
    with _open(plug(FakeAdbd()), tmp_path / "on the device") as transport:
        yield transport
    assert not list((tmp_path / "on the device").iterdir()), "the folder is removed"


@needs_adb
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_adb(check: Callable[[Transport, Path], None], device: Transport, tmp_path: Path) -> None:
    check(device, tmp_path)


def _fault(via: str) -> str:
    with pytest.raises(EdgeqError) as caught, open_transport(parse_via(via)):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_adb
def test_no_device(adb: Callable[..., str]) -> None:
    assert _fault("adb").startswith("adb: adb sees no device; plug it in")


@needs_adb
def test_a_device_that_is_not_there(adb: Callable[..., str]) -> None:
    assert "adb:ABC123: no such device (got none)" in _fault("adb:ABC123")


@needs_adb
def test_several_devices_are_listed(plug: Callable[[FakeAdbd], FakeAdbd]) -> None:
    first, second = plug(FakeAdbd()), plug(FakeAdbd())
    line = _fault("adb")
    assert first.serial in line
    assert second.serial in line
    assert "say which: --via adb:SERIAL" in line


@needs_adb
def test_one_device_needs_no_serial(plug: Callable[[FakeAdbd], FakeAdbd], tmp_path: Path) -> None:
    plug(FakeAdbd())
    with AdbTransport(parse_via("adb"), str(tmp_path)) as transport:
        assert transport.run(["echo", "here"], 20).stdout == "here\n"


@needs_adb
def test_an_unauthorized_device(plug: Callable[[FakeAdbd], FakeAdbd]) -> None:
    serial = plug(FakeAdbd("unauthorized")).serial
    assert f"the device {serial} is unauthorized; allow this computer's key" in _fault(f"adb:{serial}")


@needs_adb
@pytest.mark.slow  # adb waits 10 s for such a device
def test_an_offline_device(plug: Callable[[FakeAdbd], FakeAdbd]) -> None:
    serial = plug(FakeAdbd("offline")).serial
    assert f"the device {serial} is offline; plug it in again" in _fault(f"adb:{serial}")


@needs_adb
def test_a_device_that_is_too_old(plug: Callable[[FakeAdbd], FakeAdbd]) -> None:
    serial = plug(FakeAdbd(features="cmd")).serial
    assert "wanted Android 7 or newer" in _fault(f"adb:{serial}")


@needs_adb
def test_the_folder_of_android_is_not_here(plug: Callable[[FakeAdbd], FakeAdbd]) -> None:
    if Path("/data/local/tmp").exists():
        pytest.skip("this machine has Android's folder")
    assert "no folder could be made on the device" in _fault(f"adb:{plug(FakeAdbd()).serial}")


@needs_adb
def test_an_unplugged_device_leaves_nothing(plug: Callable[[FakeAdbd], FakeAdbd], tmp_path: Path) -> None:
    parent = tmp_path / "device"
    parent.mkdir()
    fake = plug(FakeAdbd())
    program = script(tmp_path, "sleep 32109.25 & sleep 32109.5")

    def unplug() -> None:
        wait_for(lambda: bool(processes_with("sleep 32109.5")))
        fake.unplug()

    unplugging = threading.Thread(target=unplug)
    with _open(fake, parent) as transport:
        remote = transport.push(program)
        unplugging.start()
        with pytest.raises(EdgeqError, match="the connection broke while program ran"):
            transport.run([remote], 60)
    unplugging.join()
    assert gone("sleep 32109.")
    assert wait_for(lambda: not list(parent.iterdir()))


def test_without_adb_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecipeError, match="measuring over adb needs the adb program; install"):
        open_transport(parse_via("adb"))


def test_an_adb_that_hangs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "exec sleep 60", "adb")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(adb_module, "_ADB_S", 0.2)
    assert "adb gave no answer in 0.2 s" in _fault("adb")


def test_an_adb_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "echo '* daemon not running' >&2; echo 'cannot bind' >&2; exit 1", "adb")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "adb devices failed (got * daemon not running cannot bind)" in _fault("adb")
