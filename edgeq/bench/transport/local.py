"""This machine as a device: its own shell, its own folders."""

from __future__ import annotations

from edgeq.bench.transport.channel import Channel, PipeChannel
from edgeq.bench.transport.shell import ShellTransport

__all__ = ["LocalTransport"]


class LocalTransport(ShellTransport):
    """The machine edgeq runs on."""

    def __init__(self) -> None:
        super().__init__("local", "")

    def _connect(self) -> None:
        pass

    def _disconnect(self) -> None:
        pass

    def _start(self, command: str) -> Channel:
        return PipeChannel(["sh", "-c", command])
