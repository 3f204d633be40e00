"""The runtimes that a target's users have, each as a lane of the bench under QEMU: one table, a row a lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgeq.bench.guest import GuestProgram
from edgeq.errors import RecipeError
from edgeq.progress import Progress
from edgeq.targets import Arch, Target
from edgeq.tflite.model import Graph

__all__ = ["LANES", "Lane", "find_lanes"]


@dataclass(frozen=True, slots=True)
class Lane:
    """One runtime on one kind of core.

    Attributes:
        name: for people and for the JSON.
        arch: what its code is compiled for.
        about: the runtime and its kernels, in a few words.
        encode: a graph as the file that its runner reads.
        guest: the runner, ready to run under QEMU.
        exact: whether its bytes must be the host's; else each operation's output may be one code off.
        repeats: whether its counts are the same in every run (a native runner), or only nearly (Python in the guest).
    """

    name: str
    arch: Arch
    about: str
    encode: Callable[[Graph], bytes]
    guest: Callable[[Target, Progress], GuestProgram]
    exact: bool = True
    repeats: bool = True


def _tflite(graph: Graph) -> bytes:
    from edgeq.tflite.write import write_graph

    return write_graph(graph)


def _xnnpack(graph: Graph) -> bytes:
    from edgeq.bench.xnnpack_graph import encode_graph

    return encode_graph(graph)


def _litert_guest(target: Target, progress: Progress) -> GuestProgram:
    from edgeq.bench.litert_library import litert_guest

    return litert_guest(target, progress)


def _xnnpack_guest(target: Target, progress: Progress) -> GuestProgram:
    from edgeq.bench.xnnpack_library import xnnpack_guest

    return xnnpack_guest(target, progress)


def _tflite_runtime_guest(target: Target, progress: Progress) -> GuestProgram:
    from edgeq.bench.tflite_runtime import tflite_runtime_guest

    return tflite_runtime_guest(target, progress)


LANES: Mapping[str, Lane] = MappingProxyType(
    {
        lane.name: lane
        for lane in (
            Lane("litert", "aarch64", "LiteRT with XNNPACK", _tflite, _litert_guest),
            Lane("xnnpack", "armhf", "XNNPACK of Debian 12", _xnnpack, _xnnpack_guest),
            Lane(
                "tflite-runtime",
                "armhf",
                "tflite-runtime 2.14 with gemmlowp and ruy",
                _tflite,
                _tflite_runtime_guest,
                exact=False,
                repeats=False,
            ),
        )
    }
)


def find_lanes(target: Target, names: tuple[str, ...] = ()) -> list[Lane]:
    """The lanes of a target, or those of them that are named.

    Raises:
        RecipeError: the target has none, or not one of this name.
    """
    known = [lane for lane in LANES.values() if lane.arch == target.arch]
    if not known:
        where = f"target {target.name}"
        raise RecipeError("nothing of it runs under QEMU", where=where, remedy="use --via local, ssh:// or adb")
    for name in names:
        if name not in {lane.name for lane in known}:
            wanted = ", ".join(lane.name for lane in known)
            raise RecipeError("the target has no such lane", where=f"target {target.name}", got=name, wanted=wanted)
    return [lane for lane in known if not names or lane.name in names]
