"""The NEON peak loops: one instruction over and over. Under QEMU they are counted, on a board they are timed."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edgeq.bench.instructions import count
from edgeq.bench.qemu import run
from edgeq.bench.toolchain import build_program
from edgeq.bench.transport import Transport
from edgeq.bench.transport.shell import last_line
from edgeq.errors import EdgeqError, RecipeError
from edgeq.targets import Arch, PeakKey, Target, peak_ops

__all__ = ["LOOPS", "MIN_SHARE", "LoopCount", "LoopSpeed", "PeakLoop", "count_loop", "loops_of", "measure_loop"]

MIN_SHARE = 0.95
_COUNTED_TURNS = 1000
_COUNT_S = 60.0
_PROBE_TURNS = 1000
_RUN_NS = 200_000_000  # a measured run: long beside the clock's steps, short beside a core's heating up
_RUNS = 9
_MEASURE_S = 120.0
_ASK_S = 30.0


@dataclass(frozen=True, slots=True)
class PeakLoop:
    """A loop of one multiply-accumulate instruction on independent accumulators.

    Attributes:
        name: as its program knows it.
        arch: what it is compiled for.
        data_type: whose peak rate a target states.
        form: the instruction, as :mod:`edgeq.bench.instructions` calls it.
        macs: multiply-accumulates an instruction does.
    """

    name: str
    arch: Arch
    data_type: PeakKey
    form: str
    macs: int


# A loop runs on a target of its arch that states an instruction for its data type.
LOOPS: tuple[PeakLoop, ...] = (
    PeakLoop("fmla-f32", "aarch64", "fp32", "fmla.4s", 4),
    PeakLoop("fmla-f16", "aarch64", "fp16", "fmla.8h", 8),
    PeakLoop("smlal-s8", "aarch64", "int8", "smlal.8h", 8),
    PeakLoop("sdot-s8", "aarch64", "int8_dot", "sdot.q", 16),
    PeakLoop("vmla-f32", "armhf", "fp32", "vmla.f32.q", 4),
    PeakLoop("vmlal-s8", "armhf", "int8", "vmlal.s8", 8),
)

# What `uname -m` says where such code may run; a 64-bit kernel may run 32-bit programs, too.
_MACHINES: dict[Arch, tuple[str, ...]] = {"aarch64": ("aarch64",), "armhf": ("armv7", "armv8", "aarch64")}
_FLAGS: dict[Arch, tuple[str, ...]] = {"aarch64": ("-static",), "armhf": ("-static", "-marm", "-mfpu=neon")}


@dataclass(frozen=True, slots=True)
class LoopCount:
    """A loop as it ran under QEMU.

    Attributes:
        loop: which.
        instructions: between its markers.
        mac_instructions: those among them that are the loop's own.
        share: of the latter among the former.
    """

    loop: PeakLoop
    instructions: int
    mac_instructions: int

    @property
    def share(self) -> float:
        return self.mac_instructions / self.instructions


@dataclass(frozen=True, slots=True)
class LoopSpeed:
    """A loop as one core of a device ran it.

    Attributes:
        loop: which.
        gmacs: 10^9 multiply-accumulates a second; the median of the runs.
        gmacs_low, gmacs_high: the slowest and the fastest run.
        peak_gmacs: what the target's file says one core can do.
    """

    loop: PeakLoop
    gmacs: float
    gmacs_low: float
    gmacs_high: float
    peak_gmacs: float

    @property
    def share(self) -> float:
        """Of the target's peak."""
        return self.gmacs / self.peak_gmacs


def loops_of(target: Target) -> tuple[PeakLoop, ...]:
    """The loops for the instructions that a target's file states.

    Raises:
        RecipeError: the target has none.
    """
    found = tuple(loop for loop in LOOPS if loop.arch == target.arch and loop.data_type in target.instructions)
    if not found:
        wanted = f"arch {' or '.join(get_args(Arch))} and [instructions]"
        raise RecipeError("the target's file states no peak that a loop could show", where=target.name, wanted=wanted)
    return found


def count_loop(loop: PeakLoop, target: Target) -> LoopCount:
    """Run a loop under QEMU and count its instructions.

    Raises:
        EdgeqError: no QEMU or compiler; the emulated CPU lacks the instruction; fewer than :data:`MIN_SHARE` of the
            instructions are the loop's own.
    """
    assert target.qemu_cpu is not None  # Target checks that it goes with arch
    program = build_peak(loop)
    arguments = [loop.name, str(_COUNTED_TURNS), "1"]
    cpu, root = target.qemu_cpu, program.parent
    try:
        done = run(program, arguments, arch=loop.arch, cpu=cpu, root=root, count=True, timeout_s=_COUNT_S)
    except EdgeqError as error:
        where = f"target {target.name}, {loop.form}"
        raise EdgeqError(error.what, where=where, got=error.got, remedy=error.remedy) from error
    if len(done.regions) != 1:
        raise EdgeqError("the loop marked no region", where=loop.name, got=len(done.regions), wanted=1)
    counts = count(done.regions[0].blocks)
    found = LoopCount(loop, counts.total, counts.forms.get(loop.form, 0))
    if found.share < MIN_SHARE:
        got = f"{found.mac_instructions} of {found.instructions}"
        raise EdgeqError(f"too few of the loop's instructions are {loop.form}", where=loop.name, got=got)
    return found


def measure_loop(loop: PeakLoop, target: Target, device: Transport) -> LoopSpeed:
    """Time a loop on one core of a device.

    Raises:
        EdgeqError: no compiler; the device cannot run the program, as when its CPU lacks the instruction.
    """
    peak = peak_ops(target, loop.data_type)
    assert peak is not None  # loops_of asks for an instruction
    assert target.cores is not None
    _check_machine(loop, device)
    remote = device.push(build_peak(loop))
    instructions, times = _timed(device, remote, loop, _PROBE_TURNS, 1)
    turns = max(1, round(_PROBE_TURNS * _RUN_NS / max(1, times[0])))
    instructions, times = _timed(device, remote, loop, turns, _RUNS)
    rates = sorted(instructions * loop.macs / time_ns for time_ns in times)
    return LoopSpeed(loop, statistics.median(rates), rates[0], rates[-1], peak / target.cores / 1e9)


def build_peak(loop: PeakLoop) -> Path:
    """The program with a loop, linked statically: a board needs nothing but it."""
    return build_program(f"peak_{loop.arch}.c", loop.arch, flags=_FLAGS[loop.arch])


def _check_machine(loop: PeakLoop, device: Transport) -> None:
    machine = device.run(["uname", "-m"], _ASK_S).stdout.strip()
    if not machine.startswith(_MACHINES[loop.arch]):
        wanted = f"one that runs {loop.arch} code"
        raise EdgeqError("the device is another machine than the target", got=machine or "no answer", wanted=wanted)


def _timed(device: Transport, remote: str, loop: PeakLoop, turns: int, runs: int) -> tuple[int, list[int]]:
    done = device.run([remote, loop.name, str(turns), str(runs)], _MEASURE_S)
    if done.returncode:
        what = f"the device's CPU cannot run {loop.form}" if done.returncode == 128 + 4 else "the peak loop failed"
        raise EdgeqError(what, where=loop.name, got=last_line(done.stderr) or f"exit status {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        instructions, times = answer["instructions"], answer["ns"]
        whole = [value for value in (instructions, *times) if type(value) is int and value > 0]
        if answer["name"] != loop.name or len(whole) != runs + 1:
            raise ValueError("values that cannot be")
    except (ValueError, TypeError, KeyError) as error:
        raise EdgeqError(
            "the peak loop's answer is not understood", where=loop.name, got=repr(done.stdout[:200])
        ) from error
    return instructions, times
