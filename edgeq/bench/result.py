"""What a bench found, as plain data: for the JSON, the tables and the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edgeq.bench.estimate import Estimate
from edgeq.bench.instructions import Counts
from edgeq.bench.kernels import KernelShare

__all__ = ["Agreement", "EmulatedLane", "Emulation", "OperationCount", "OperationGap", "Unit"]


Unit = Literal["codes", "relative"]
"""Of a difference: integer codes, or for floats the share of the largest value."""


@dataclass(frozen=True, slots=True)
class OperationGap:
    """An operation that gave something else than on the host, from equal inputs."""

    kind: str
    name: str
    difference: float
    unit: Unit


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a runtime is from the host's LiteRT.

    Attributes:
        samples: samples whose outputs were compared.
        golden: whether they are the build's golden vectors, or random.
        unit: of ``difference``.
        equal: every byte of every output is the host's.
        difference: the largest, of the file's outputs.
        gaps: the operations that differ, in order; None where operations were not run alone.
        may_tie: whether the file has an operation that ARM rounds in another way at exact ties.
    """

    samples: int
    golden: bool
    unit: Unit
    equal: bool
    difference: float
    gaps: tuple[OperationGap, ...] | None = None
    may_tie: bool = False


@dataclass(frozen=True, slots=True)
class OperationCount:
    """One operation, run alone.

    Attributes:
        index, kind, name: of the operation in the file.
        macs: multiply-accumulates by its shapes.
        bytes: of the tensors it reads and writes, each once.
        counts: of one run.
        kernel: where most of its instructions ran; empty where it has no name.
        estimate: None where the target has no cost table.
        peak_share: multiply-accumulates a second, at the middle of the estimate, over the most that one core can do;
            None where either is not known.
    """

    index: int
    kind: str
    name: str
    macs: int
    bytes: int
    counts: Counts
    kernel: str
    estimate: Estimate | None
    peak_share: float | None


@dataclass(frozen=True, slots=True)
class EmulatedLane:
    """One runtime on one target, under QEMU.

    Attributes:
        lane, about: the runtime.
        exact: whether its bytes must be the host's, if the file is of integers.
        repeats: whether the counts are the same in every run.
        agreement: with the host.
        macs: multiply-accumulates of an inference by its shapes.
        counts: instructions of one inference.
        macs_by_form: multiply-accumulates that ran, by the form of instruction that did them, most first.
        kernels: functions that most instructions ran in, each with its share; most first.
        operations: each operation alone; empty where that was not asked for.
        estimate: of one inference on one core; None where the target has no cost table.
    """

    lane: str
    about: str
    exact: bool
    repeats: bool
    agreement: Agreement
    macs: int
    counts: Counts
    macs_by_form: dict[str, int]
    kernels: tuple[KernelShare, ...]
    operations: tuple[OperationCount, ...]
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class Emulation:
    """One artifact on one target, under QEMU; nothing in it is measured time.

    ``left_out`` tells why, by the name of a runtime that has no form of one of its operations.
    """

    target: str
    model: str
    sha256: str
    lanes: tuple[EmulatedLane, ...]
    via: str = "qemu"
    left_out: dict[str, str] = field(default_factory=dict)
