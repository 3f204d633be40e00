"""The device's side of adb, enough for a real adb client and server to connect to: its shell is this machine's.

It speaks adb's transport protocol (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE) and, inside a stream, shell protocol 2. It
stands in for adbd alone; nothing in it shows how an Android device's own shell or file systems behave.

Source: Android's packages/modules/adb, protocol.txt and shell_protocol.h.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
from contextlib import suppress
from typing import Literal

__all__ = ["FakeAdbd"]

_CNXN, _AUTH, _OPEN, _OKAY, _CLSE, _WRTE = 0x4E584E43, 0x48545541, 0x4E45504F, 0x59414B4F, 0x45534C43, 0x45545257
_VERSION = 0x01000001
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PIECE = 16 << 10


class _Stream:
    """One shell command."""

    def __init__(self, device: _Connection, number: int, peer: int, command: str) -> None:
        self.device, self.number, self.peer = device, number, peer
        self.may_send = threading.Semaphore(1)  # one WRTE at a time, until its OKAY
        self.waiting = bytearray()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        readers = [threading.Thread(target=self._read, args=(kind,), daemon=True) for kind in (_STDOUT, _STDERR)]
        for reader in readers:
            reader.start()
        code = self.process.wait()
        for reader in readers:
            reader.join()
        self._send(struct.pack("<BIB", _EXIT, 1, code % 256))
        self.may_send.acquire()
        self.device.send(_CLSE, self.number, self.peer)

    def _read(self, kind: int) -> None:
        stream = self.process.stdout if kind == _STDOUT else self.process.stderr
        assert stream is not None
        while piece := stream.read(_PIECE):
            self._send(struct.pack("<BI", kind, len(piece)) + piece)

    def _send(self, data: bytes) -> None:
        self.may_send.acquire()
        self.device.send(_WRTE, self.number, self.peer, data)

    def take(self, data: bytes) -> None:
        self.waiting += data
        while len(self.waiting) >= 5:
            kind, size = struct.unpack_from("<BI", self.waiting)
            if len(self.waiting) < 5 + size:
                return
            body = bytes(self.waiting[5 : 5 + size])
            del self.waiting[: 5 + size]
            assert self.process.stdin is not None
            with suppress(OSError, ValueError):
                if kind == _STDIN:
                    self.process.stdin.write(body)
                elif kind == _CLOSE_STDIN:
                    self.process.stdin.close()

    def close(self) -> None:
        """The other side is gone. As adbd does, only the program's input is closed."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.may_send.release()


class _Connection:
    def __init__(self, adbd: FakeAdbd, peer: socket.socket) -> None:
        self.adbd, self.peer = adbd, peer
        self.lock = threading.Lock()
        self.streams: dict[int, _Stream] = {}

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        header = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self.lock, suppress(OSError):
            self.peer.sendall(header + data)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.peer.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def serve(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                command, first, second, size, _, _ = struct.unpack("<6I", self._receive(24))
                self._handle(command, first, second, self._receive(size))
        for stream in self.streams.values():
            stream.close()
        self.peer.close()

    def _handle(self, command: int, first: int, second: int, data: bytes) -> None:
        if self.adbd.state == "unauthorized" and (command == _CNXN or (command == _AUTH and first == 2)):
            self.send(_AUTH, 1, 0, bytes(20))  # a token to sign; no signature will do
        elif command == _CNXN and self.adbd.state == "device":
            banner = f"device::ro.product.name=fake;ro.product.model=fake;features={self.adbd.features}"
            self.send(_CNXN, _VERSION, 1 << 18, banner.encode())
        elif command == _OPEN:
            service, _, text = data.rstrip(b"\0").decode().partition(":")
            if service.split(",")[0] != "shell" or "v2" not in service.split(","):
                self.send(_CLSE, 0, first)
                return
            number = len(self.streams) + 1
            self.send(_OKAY, number, first)
            self.streams[number] = _Stream(self, number, first, text)
        elif command == _OKAY:
            self.streams[second].may_send.release()
        elif command == _WRTE:
            self.streams[second].take(data)
            self.send(_OKAY, second, first)
        elif command == _CLSE and second in self.streams:
            self.streams[second].close()


class FakeAdbd:
    """A device that ``adb connect`` finds at :attr:`serial`."""

    def __init__(
        self, state: Literal["device", "unauthorized", "offline"] = "device", features: str = "shell_v2,cmd"
    ) -> None:
        self.state, self.features = state, features
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                threading.Thread(target=_Connection(self, peer).serve, daemon=True).start()

    def unplug(self) -> None:
        """Break all connections and take no more."""
        for stream in (self._listener, *self._peers):
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
