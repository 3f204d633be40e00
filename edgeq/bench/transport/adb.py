"""An Android device, through the ``adb`` program of the platform tools."""

from __future__ import annotations

import re
import shutil
import subprocess

from edgeq.bench.transport.channel import Channel, PipeChannel
from edgeq.bench.transport.shell import ShellTransport
from edgeq.bench.transport.via import Via
from edgeq.errors import EdgeqError, RecipeError

__all__ = ["AdbTransport"]

_ADB_S = 30.0
_PARENT = "/data/local/tmp"
"""The one folder of a production device that adb's user may write to and run programs from."""
_REMEDIES = {
    "unauthorized": "allow this computer's key on the device's screen",
    "authorizing": "allow this computer's key on the device's screen",
    "offline": "plug it in again, or run `adb reconnect`",
    "no permissions": "allow your user to use the USB device (udev rules)",
}


class AdbTransport(ShellTransport):
    """An Android device, from Android 7 on (adb's shell protocol 2, which tells how a program ended)."""

    def __init__(self, via: Via, parent: str = _PARENT) -> None:
        """Look for the ``adb`` program.

        Raises:
            RecipeError: it is not installed.
        """
        super().__init__(via.text, parent)
        program = shutil.which("adb")
        if program is None:
            raise RecipeError(
                "measuring over adb needs the adb program",
                where="--via",
                remedy="install Android's platform tools (Debian, Ubuntu: apt-get install adb)",
            )
        self._program = program
        self._serial = via.serial

    def _connect(self) -> None:
        devices = dict(_device_states(self._adb("devices")))
        self._serial = self._chosen(devices)
        state = devices[self._serial]
        if state != "device":
            known = next((remedy for word, remedy in _REMEDIES.items() if state.startswith(word)), None)
            raise EdgeqError(
                f"the device {self._serial} is {state}", where=self.label, remedy=known or "see `adb devices`"
            )
        if "shell_v2" not in self._adb("-s", self._serial, "features").split():
            raise EdgeqError(
                "the device's adb does not tell how a program ended", where=self.label, wanted="Android 7 or newer"
            )

    def _chosen(self, devices: dict[str, str]) -> str:
        listed = ", ".join(f"{serial} ({state})" for serial, state in devices.items())
        if self._serial is not None:
            if self._serial not in devices:
                raise EdgeqError("no such device", where=self.label, got=listed or "none", remedy="see `adb devices`")
            return self._serial
        if not devices:
            raise EdgeqError(
                "adb sees no device", where=self.label, remedy="plug it in and allow USB debugging, or `adb connect` it"
            )
        if len(devices) > 1:
            raise EdgeqError("several devices", where=self.label, got=listed, remedy="say which: --via adb:SERIAL")
        return next(iter(devices))

    def _adb(self, *arguments: str) -> str:
        """Output of an adb command that runs no program on the device."""
        try:
            done = subprocess.run(
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ADB_S,
                check=False,
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            remedy = "try `adb kill-server`"
            raise EdgeqError(f"adb gave no answer in {_ADB_S:g} s", where=self.label, remedy=remedy) from error
        except OSError as error:
            raise EdgeqError("adb does not run", where=self._program, got=error.strerror) from error
        if done.returncode != 0:
            raise EdgeqError(f"adb {arguments[-1]} failed", where=self.label, got=done.stderr.strip()[-300:] or None)
        return done.stdout

    def _disconnect(self) -> None:
        pass

    def _start(self, command: str) -> Channel:
        assert self._serial is not None
        return PipeChannel([self._program, "-s", self._serial, "shell", "-T", command])


def _device_states(listing: str) -> list[tuple[str, str]]:
    """Serial and state of each line of ``adb devices``; lines of another form (notes of its server) are skipped."""
    lines = (re.fullmatch(r"(\S+)\t(.+?)\s*", line) for line in listing.splitlines())
    return [(match[1], match[2]) for match in lines if match]
