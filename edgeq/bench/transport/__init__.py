"""How the bench reaches a device: this machine, ssh or adb; one private folder on it, which is gone afterwards."""

from edgeq.bench.transport.shell import Completed
from edgeq.bench.transport.shell import ShellTransport as Transport
from edgeq.bench.transport.via import Via, open_transport, parse_via

__all__ = ["Completed", "Transport", "Via", "open_transport", "parse_via"]
