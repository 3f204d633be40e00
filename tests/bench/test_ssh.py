"""ssh against a real OpenSSH server on the loopback, run by the test with keys and settings of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_runner import RUNNER
from transport_checks import CHECKS, gone, processes_with, script, wait_for

from edgeq.bench.jobs import Job
from edgeq.bench.measure import RunnerFiles, Settings, measure
from edgeq.bench.transport import Transport, open_transport, parse_via, ssh
from edgeq.bench.transport.shell import ShellTransport
from edgeq.errors import EdgeqError, RecipeError

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="no OpenSSH server: apt-get install openssh-server"),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen: apt-get install openssh-client"),
]


@dataclass(frozen=True)
class Server:
    """A running sshd.

    Attributes:
        port: where it listens, on 127.0.0.1.
        home: home folder whose .ssh the client reads; the server's files lie beside it.
        pid: of the listening process.
    """

    port: int
    home: Path
    pid: int

    @property
    def via(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def open(self, folder: str = "") -> ShellTransport:
        return open_transport(parse_via(self.via + folder))

    def sessions(self) -> list[int]:
        """The processes of the server that hold a connection, that is, its children and theirs."""
        found, wanted = [], {self.pid}
        children = {int(path.name): _parent(path) for path in Path("/proc").glob("[0-9]*")}
        while wanted:
            wanted = {pid for pid, parent in children.items() if parent in wanted}
            found += [pid for pid in wanted if b"sshd" in _read(Path(f"/proc/{pid}/cmdline"))]
        return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(process: Path) -> int | None:
    status = _read(process / "stat").rpartition(b")")[2].split()
    return int(status[1]) if len(status) > 1 else None


def _keygen(path: Path, passphrase: str = "") -> str:
    """A new key pair; its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_name(f"{path.name}.pub").read_text().strip()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("paramiko", reason="the extra edgeq[ssh] is not installed")
    home, own = tmp_path / "home", tmp_path / "sshd"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    own.mkdir()
    host_key = _keygen(own / "host_key")
    (own / "authorized_keys").write_text(_keygen(home / ".ssh" / "id_ed25519") + "\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = own / "sshd_config"
    settings.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {own}/host_key\nPidFile {own}/pid\n"
        f"AuthorizedKeysFile {own}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd confines itself; a service would make it
    assert SSHD is not None
    with subprocess.Popen([SSHD, "-D", "-e", "-f", str(settings)], stderr=(own / "log").open("wb")) as process:
        try:
            if not wait_for(lambda: (own / "pid").exists() or process.poll() is not None) or process.poll() is not None:
                pytest.skip(f"sshd does not start here: {(own / 'log').read_text()[-300:]}")
            yield Server(port, home, process.pid)
        finally:
            process.terminate()


@pytest.fixture
def device(server: Server, tmp_path: Path) -> Iterator[Transport]:
    (tmp_path / "on the device").mkdir()
    with server.open(f"{tmp_path}/on the device") as transport:
        yield transport
    assert not list((tmp_path / "on the device").iterdir()), "the folder is removed"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_ssh(check: Callable[[Transport, Path], None], device: Transport, tmp_path: Path) -> None:
    check(device, tmp_path)


def test_many_commands_one_after_the_other(device: Transport) -> None:
    assert [device.run(["echo", str(turn)], 20).stdout for turn in range(12)] == [f"{turn}\n" for turn in range(12)]


def test_a_measurement(device: Transport, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("2000 2001 2002")
    (tmp_path / "samples").write_bytes(b"abc")
    job = Job("net", tmp_path / "model", tmp_path / "samples", tmp_path / "outputs", runs=30)
    (tmp_path / "runner").write_text(RUNNER)
    (tmp_path / "runner").chmod(0o755)
    # This machine's own clocks and sensors are read, and may move.
    found = measure(device, RunnerFiles(tmp_path / "runner"), job, Settings(idle_s=1, allow_noisy=True))
    assert (found.via, found.latency.p50.value_ns) == (device.label, 2_001_000)
    assert job.outputs.read_bytes() == b"cba"


def _fault(server: Server, kind: type[EdgeqError] = EdgeqError, via: str | None = None) -> str:
    """The one line that connecting ends in."""
    with pytest.raises(kind) as caught, open_transport(parse_via(via or server.via)):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_host_key_is_refused(server: Server) -> None:
    (server.home / ".ssh" / "known_hosts").write_text("")
    assert f"the host key of [127.0.0.1]:{server.port} is unknown" in _fault(server)


def test_no_known_hosts_file_is_an_unknown_host(server: Server) -> None:
    (server.home / ".ssh" / "known_hosts").unlink()
    assert "is unknown" in _fault(server)


def test_a_changed_host_key_is_refused(server: Server, tmp_path: Path) -> None:
    other = _keygen(tmp_path / "other")
    (server.home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}\n")
    assert "is not the one in known_hosts" in _fault(server)


def test_a_hashed_known_host_is_known(server: Server) -> None:
    known = server.home / ".ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    with server.open() as transport:
        assert transport.run(["true"], 20).returncode == 0


def test_a_key_that_is_not_allowed_is_refused(server: Server) -> None:
    for path in (server.home / ".ssh").glob("id_*"):
        path.unlink()
    _keygen(server.home / ".ssh" / "id_ed25519")
    assert f"{getpass.getuser()} was not let in" in _fault(server)


def test_no_key_at_all_is_refused(server: Server) -> None:
    for path in (server.home / ".ssh").glob("id_*"):
        path.unlink()
    assert "there is no key to log in with" in _fault(server)


def test_an_encrypted_key_asks_for_the_agent(server: Server) -> None:
    key = server.home / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret-phrase", "-f", str(key)], check=True, capture_output=True)
    assert "the key is encrypted; hand it to ssh-agent" in _fault(server)


def test_nothing_listens(server: Server) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert f"[127.0.0.1]:{port} cannot be reached" in _fault(server, via=f"ssh://127.0.0.1:{port}")


def test_no_such_host(server: Server) -> None:
    assert "no such host as no-such-host.invalid" in _fault(server, via="ssh://no-such-host.invalid")


def test_what_listens_is_no_ssh_server(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ssh, "_CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert "no ssh connection" in _fault(server, via=f"ssh://127.0.0.1:{mute.getsockname()[1]}")
    assert capfd.readouterr().err == "", "paramiko's log stays silent"


def test_an_alias_of_the_users_configuration(server: Server) -> None:
    key = server.home / ".ssh" / "id_ed25519"
    key.rename(server.home / "board key")
    (server.home / ".ssh" / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {server.port}\n  User {getpass.getuser()}\n"
        f'  IdentityFile "{server.home}/board key"\n  IdentitiesOnly yes\n'
    )
    with open_transport(parse_via("ssh://board")) as transport:
        assert transport.run(["echo", "here"], 20).stdout == "here\n"


@pytest.mark.parametrize("text", ["Port many\n", "Match nonsense\n", "\x00\xff", "\udcff"])
def test_a_broken_configuration_is_one_line(server: Server, text: str) -> None:
    (server.home / ".ssh" / "config").write_bytes(text.encode(errors="surrogateescape"))
    assert ".ssh/config: cannot be read" in _fault(server, via="ssh://127.0.0.1")


def test_a_proxy_command_of_the_users_configuration(server: Server) -> None:
    code = (
        "import socket,sys,threading,os\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "def up():\n"
        "    while d:=os.read(0,65536): s.sendall(d)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    relay = server.home / "relay.py"
    relay.write_text(code)
    (server.home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n  ProxyCommand {sys.executable} {relay} %h %p\n")
    with server.open() as transport:
        assert processes_with(str(relay))
        assert transport.run(["echo", "through"], 20).stdout == "through\n"
    assert gone(str(relay))


def test_a_proxy_command_that_fails_is_one_line(server: Server) -> None:
    (server.home / ".ssh" / "config").write_text("Host 127.0.0.1\n  ProxyCommand false\n")
    assert "no ssh connection" in _fault(server)


def test_a_proxy_jump_says_what_to_write(server: Server) -> None:
    (server.home / ".ssh" / "config").write_text("Host *\n  ProxyJump gate\n")
    assert "write it as ProxyCommand ssh -W %h:%p gate" in _fault(server, RecipeError)


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "edgeq-test", str(small)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        (tmp_path / "big").write_bytes(bytes(3 << 20))
        (tmp_path / "little").write_bytes(bytes(1000))
        with server.open(str(small)) as transport:
            with pytest.raises(EdgeqError, match=r"the device's disk is full \(wanted 3,145,728 bytes for big in"):
                transport.push(tmp_path / "big")
            transport.push(tmp_path / "little")  # the broken file made way
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_is_not_there(server: Server) -> None:
    assert "no folder could be made on the device" in _fault(server, via=f"{server.via}/no/such/folder")


def test_a_dropped_connection_leaves_nothing(server: Server, tmp_path: Path) -> None:
    parent = tmp_path / "device"
    parent.mkdir()

    def drop() -> None:
        if wait_for(lambda: bool(processes_with("sleep 54321.5"))):
            assert [path.name for path in parent.iterdir()]
            for pid in server.sessions():
                os.kill(pid, signal.SIGKILL)

    program = script(tmp_path, "sleep 54321.25 & sleep 54321.5")
    dropping = threading.Thread(target=drop)
    with server.open(str(parent)) as transport:
        remote = transport.push(program)
        dropping.start()
        with pytest.raises(EdgeqError, match="the connection broke while program ran"):
            transport.run([remote], 60)
        with pytest.raises(EdgeqError, match="the connection broke"):
            transport.run(["true"], 5)
    dropping.join()
    assert gone("sleep 54321.")
    assert gone(str(parent))
    assert wait_for(lambda: not list(parent.iterdir())), "the folder is removed by the far side"


def test_a_connection_dropped_while_pushing(server: Server, tmp_path: Path) -> None:
    parent = tmp_path / "device"
    parent.mkdir()
    (tmp_path / "big").write_bytes(bytes(300 << 20))

    def drop() -> None:
        wait_for(lambda: any(path.stat().st_size for path in parent.glob("edgeq.*/big.part")))
        for pid in server.sessions():
            os.kill(pid, signal.SIGKILL)

    dropping = threading.Thread(target=drop)
    with server.open(str(parent)) as transport:
        dropping.start()
        with pytest.raises(EdgeqError, match="the connection broke while the device's shell ran"):
            transport.push(tmp_path / "big")
    dropping.join()
    (tmp_path / "big").unlink()
    assert wait_for(lambda: not list(parent.iterdir()))


def test_without_paramiko_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(RecipeError, match=r"measuring over ssh needs paramiko; pip install 'edgeq\[ssh\]'"):
        open_transport(parse_via("ssh://board"))
