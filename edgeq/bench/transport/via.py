"""The option ``--via``: where a model is measured. It names a transport and connects to nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgeq.bench.transport.shell import ShellTransport
from edgeq.errors import RecipeError

__all__ = ["Via", "open_transport", "parse_via"]

_FORMS = "local, qemu, ssh://user@host[:port][/folder] or adb[:serial]"
_SSH = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]*)@)?"
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])"
    r"(?::(?P<port>\d{1,5}))?(?P<folder>/[^\x00-\x1f\x7f]*)?"
)
_SERIAL = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*")


@dataclass(frozen=True, slots=True)
class Via:
    """Where to measure.

    Attributes:
        kind: the transport.
        text: the option as it was given.
        host, user, port: of ssh; None leaves it to ``~/.ssh/config`` and its defaults.
        folder: of ssh, where the private folder is made on the device; "" for its $TMPDIR or /tmp.
        serial: of adb; None for the one device that is there.
    """

    kind: Literal["local", "qemu", "ssh", "adb"]
    text: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    folder: str = ""
    serial: str | None = None


def parse_via(text: str) -> Via:
    """Read ``local``, ``qemu``, ``ssh://user@host[:port][/folder]`` or ``adb[:serial]``.

    The user may be left out, and ``host`` may be an alias of ``~/.ssh/config``.

    Raises:
        RecipeError: any other form. A password is refused and not repeated in the message.
    """
    if text == "local":
        return Via("local", text)
    if text == "qemu":
        return Via("qemu", text)
    if text == "adb":
        return Via("adb", text)
    if text.startswith("adb:"):
        serial = text.removeprefix("adb:")
        if not _SERIAL.fullmatch(serial):
            raise RecipeError(
                "no serial number of a device", where="--via", got=repr(serial), remedy="see `adb devices`"
            )
        return Via("adb", text, serial=serial)
    if text.startswith("ssh://"):
        return _parse_ssh(text)
    raise RecipeError("unknown transport", where="--via", got=repr(text), wanted=_FORMS)


def _parse_ssh(text: str) -> Via:
    login, at, _ = text.removeprefix("ssh://").partition("@")
    if at and ":" in login:
        raise RecipeError(
            "a password does not belong on a command line",
            where="--via",
            remedy="use a key, or one that ssh-agent holds",
        )
    match = _SSH.fullmatch(text)
    if match is None:
        raise RecipeError("no ssh address", where="--via", got=repr(text), wanted="ssh://user@host[:port][/folder]")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise RecipeError("no port", where="--via", got=port, wanted="1 to 65535")
    host = match["host"].strip("[]")
    return Via("ssh", text, host=host, user=match["user"], port=port, folder=(match["folder"] or "").rstrip("/"))


def open_transport(via: Via) -> ShellTransport:
    """The transport to a device, to be used in a ``with`` statement; nothing is connected yet.

    Raises:
        RecipeError: ``qemu``, which runs programs without a device; or what ssh or adb need is not installed.
    """
    if via.kind == "local":
        from edgeq.bench.transport.local import LocalTransport

        return LocalTransport()
    if via.kind == "ssh":
        from edgeq.bench.transport.ssh import SshTransport

        return SshTransport(via)
    if via.kind == "adb":
        from edgeq.bench.transport.adb import AdbTransport

        return AdbTransport(via)
    raise RecipeError("qemu is no device", where="--via", remedy="under QEMU a model is counted, not measured")
