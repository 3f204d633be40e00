"""A device over ssh, through paramiko: keys only, hosts that the user knows only. Nothing here asks a question."""

from __future__ import annotations

import getpass
import logging
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.bench.transport.channel import Channel
from edgeq.bench.transport.shell import ShellTransport
from edgeq.bench.transport.via import Via
from edgeq.errors import EdgeqError, RecipeError

if TYPE_CHECKING:
    import paramiko

__all__ = ["SshTransport"]

_CONNECT_S = 15.0
_KEEPALIVE_S = 15


class _SshChannel:
    """A :class:`~edgeq.bench.transport.channel.Channel` over a session of an ssh connection."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def write(self, data: bytes) -> None:
        self._channel.sendall(data)

    def close_input(self) -> None:
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def read_output(self, size: int) -> bytes:
        return self._channel.recv(size)

    def read_errors(self, size: int) -> bytes:
        return self._channel.recv_stderr(size)

    def close(self, grace_s: float) -> None:
        self.close_input()
        self._channel.status_event.wait(grace_s)
        self._channel.close()


class SshTransport(ShellTransport):
    """A device that runs an ssh server and has a POSIX shell."""

    def __init__(self, via: Via) -> None:
        """Read ``~/.ssh/config``.

        Raises:
            RecipeError: paramiko is not installed, or the configuration asks for what is not supported.
        """
        try:
            import paramiko  # noqa: F401
        except ImportError as error:
            raise RecipeError(
                "measuring over ssh needs paramiko", where="--via", remedy="pip install 'edgeq[ssh]'"
            ) from error
        # What goes wrong is raised; without a handler Python would also print its log.
        logging.getLogger("paramiko").addHandler(logging.NullHandler())
        super().__init__(via.text, via.folder)
        self._via = via
        self._client: paramiko.SSHClient | None = None
        self._relay: subprocess.Popen[bytes] | None = None

    def _connect(self) -> None:
        import paramiko

        assert self._via.host is not None
        settings = _user_settings(self._via)
        host = str(settings.get("hostname", self._via.host))
        port = int(settings.get("port", 22))
        user = str(settings.get("user", getpass.getuser()))
        if "proxyjump" in settings and str(settings["proxyjump"]).lower() != "none":
            raise RecipeError(
                "ProxyJump is not supported",
                where=f"{Path.home()}/.ssh/config, {self._via.host}",
                remedy=f"write it as ProxyCommand ssh -W %h:%p {settings['proxyjump']}",
            )
        client = paramiko.SSHClient()
        self._client = client
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        for known in (Path("/etc/ssh/ssh_known_hosts"), *_known_hosts_files(settings)):
            with suppress(OSError, paramiko.SSHException):
                client.load_system_host_keys(str(known))
        command = str(settings.get("proxycommand", "none"))
        keys = [str(path) for path in map(_expanded, settings.get("identityfile", ())) if path.is_file()]
        relay = None if command.lower() == "none" else self._start_relay(command)

        def connect() -> None:
            client.connect(
                host,
                port,
                user,
                key_filename=keys or None,  # type: ignore[arg-type]  # a list is documented, the stub forgets it
                allow_agent=True,
                look_for_keys=str(settings.get("identitiesonly", "no")).lower() != "yes",
                timeout=_CONNECT_S,
                banner_timeout=_CONNECT_S,
                auth_timeout=_CONNECT_S,
                channel_timeout=_CONNECT_S,
                sock=relay,
            )

        self._guarded(connect, host, port, user)
        transport = client.get_transport()
        assert transport is not None
        transport.set_keepalive(_KEEPALIVE_S)

    def _guarded(self, connect: Callable[[], None], host: str, port: int, user: str) -> None:
        """Tell what keeps a connection from being made in one line."""
        import paramiko

        def fault(what: str, remedy: str, got: object = None) -> EdgeqError:
            return EdgeqError(what, where=self.label, got=got, remedy=remedy)

        name = host if port == 22 else f"[{host}]:{port}"
        try:
            connect()
        except paramiko.BadHostKeyException as error:
            raise fault(
                f"the host key of {name} is not the one in known_hosts",
                "find out why it changed before you trust it",
                f"SHA256:{_fingerprint(error.key)}",
            ) from error
        except paramiko.PasswordRequiredException as error:
            raise fault("the key is encrypted", "hand it to ssh-agent with ssh-add") from error
        except (paramiko.AuthenticationException, paramiko.ssh_exception.PartialAuthentication) as error:
            raise fault(
                f"{user} was not let in", "allow one of your keys there; passwords are not used", error
            ) from error
        except socket.gaierror as error:
            raise fault(f"no such host as {host}", "check the name", error.strerror) from error
        except TimeoutError as error:
            raise fault(f"no answer from {name} in {_CONNECT_S:g} s", "is it on, and is the address right?") from error
        except (paramiko.SSHException, EOFError) as error:
            if "not found in known_hosts" in str(error):
                remedy = f"compare its key, then add it: ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts"
                raise fault(f"the host key of {name} is unknown", remedy) from error
            if "No authentication methods available" in str(error):
                raise fault("there is no key to log in with", "make one with ssh-keygen, or start ssh-agent") from error
            raise fault("no ssh connection", "does `ssh` itself get through?", str(error) or None) from error
        except OSError as error:
            raise fault(
                f"{name} cannot be reached", "is it on, and does it run an ssh server?", error.strerror
            ) from error

    def _start_relay(self, command: str) -> socket.socket:
        """Run a ProxyCommand; what is sent to the socket goes through it.

        paramiko has a class for this, but it takes no notice of a command that ends, and spins.
        """
        near, far = socket.socketpair()
        with far:
            self._relay = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return near

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._relay is not None:
            self._relay.kill()
            self._relay.wait()
            self._relay = None

    def _start(self, command: str) -> Channel:
        import paramiko

        assert self._client is not None
        transport = self._client.get_transport()
        try:
            if transport is None:
                raise EOFError
            channel = transport.open_session(timeout=_CONNECT_S)
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise EdgeqError(
                "the connection broke", where=self.label, got=str(error) or None, remedy="try again"
            ) from error
        return _SshChannel(channel)


def _fingerprint(key: paramiko.PKey) -> str:
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _user_settings(via: Via) -> paramiko.config.SSHConfigDict:
    """What the address and then ``~/.ssh/config`` say about a host."""
    import paramiko

    # The first value of a key counts. Said here, the address also reaches the %p and %r of a ProxyCommand.
    given = (("Port", via.port), ("User", via.user))
    text = "Host *\n" + "".join(f"{key} {value}\n" for key, value in given if value is not None)
    path = Path.home() / ".ssh" / "config"
    try:
        text += path.read_text() if path.is_file() else ""
        found = paramiko.SSHConfig.from_text(text).lookup(str(via.host))
        int(found.get("port", 22))
        return found
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise RecipeError("cannot be read", where=path, got=error) from error


def _known_hosts_files(settings: paramiko.config.SSHConfigDict) -> list[Path]:
    given = settings.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    return [_expanded(word) for word in str(given).split()]


def _expanded(word: str) -> Path:
    return Path(word).expanduser()
