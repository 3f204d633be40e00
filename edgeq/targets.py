"""The devices of ``targets/*.toml``: read strictly, and their peak rates as in the paper's Table 1. No measuring.

Adding a device is adding a file; every figure in it names its source, and one that is fitted or assumed says so
(:func:`edgeq.cost_table.basis`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edgeq.cost_table import Cost, Pipeline, check_costs, check_interval
from edgeq.errors import RecipeError
from edgeq.resources import data_names, find_data_file
from edgeq.strict_toml import read_toml, table_to_dataclass

__all__ = [
    "Arch",
    "DataType",
    "Feature",
    "Instruction",
    "Isa",
    "PeakKey",
    "Target",
    "VendorPeak",
    "board_watts",
    "list_targets",
    "load_target",
    "peak_ops",
]

DataType = Literal["fp32", "fp16", "int8"]
PeakKey = Literal["fp32", "fp16", "int8", "int8_dot"]
Arch = Literal["aarch64", "armhf"]
Isa = Literal["armv7-a", "armv8-a", "armv8.2-a", "armv9-a", "x86-64", "sm_75", "native"]
Feature = Literal["neon", "fp16", "dotprod", "i8mm"]

SCHEMA = 1
_CPU = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FIGURES = ("cores", "clock_hz", "watts_per_core", "board_watts", "l1d_bytes", "l2_bytes", "l3_bytes")
_NEED_SOURCE = (
    *_FIGURES,
    "features",
    "qemu_cpu",
    "midr_part",
    "midr_variant",
    "bandwidth_bytes_per_s",
    "calibration_error",
)


def _positive(name: str, value: float | None) -> None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise RecipeError("must be positive and finite", where=name, got=value)


@dataclass(frozen=True, slots=True)
class Instruction:
    """The instruction that a data type's peak rate rests on.

    Attributes:
        mnemonic: as in the vendor's manual.
        lanes: multiply-accumulates an instruction does.
        reciprocal_throughput: cycles from one such instruction to the next on one core.
        source: where the figures are from.
        reciprocal_throughput_low: its lower bound, where what is published leaves it open.
    """

    mnemonic: str
    lanes: int
    reciprocal_throughput: float
    source: str
    reciprocal_throughput_low: float | None = None

    def __post_init__(self) -> None:
        _positive("lanes", self.lanes)
        _positive("reciprocal_throughput", self.reciprocal_throughput)
        _positive("reciprocal_throughput_low", self.reciprocal_throughput_low)
        if (self.reciprocal_throughput_low or 0) > self.reciprocal_throughput:
            raise RecipeError("above reciprocal_throughput", where="reciprocal_throughput_low")


@dataclass(frozen=True, slots=True)
class VendorPeak:
    """A peak rate taken from the vendor as it is.

    Attributes:
        ops_per_s: operations a second.
        ops_per_mac: how many operations the vendor counts a multiply-accumulate as.
        source: where the figure is from.
    """

    ops_per_s: float
    ops_per_mac: Literal[1, 2]
    source: str

    def __post_init__(self) -> None:
        _positive("ops_per_s", self.ops_per_s)


@dataclass(frozen=True, slots=True)
class Target:
    """One device. A figure that is not known is None, not a guess.

    Attributes:
        schema: version of the file format.
        name, description: for people; the name is also the file's.
        isa: instruction set.
        features: what its vector unit can do beyond the baseline.
        cores: cores that work on one inference at most.
        clock_hz: clock of these cores.
        watts_per_core: power of one busy core, W.
        board_watts: power of the whole board, W; instead of ``watts_per_core``.
        arch: which of the bench's two builds of the runtimes it runs; None where there is none for it.
        qemu_cpu: the CPU that QEMU emulates for it.
        midr_implementer, midr_part, midr_variant: what its cores call themselves (MIDR_EL1 or MIDR; the variant is the
            r of a revision such as r2p0); runtimes choose kernels by it.
        l1d_bytes, l2_bytes: caches of one core, or shared by its cores where the source says so.
        l3_bytes: the cache that all cores share, where there is a third level.
        bandwidth_bytes_per_s: from memory to the cores; one value, or a lower and an upper bound.
        calibration_error: largest relative error of estimates on published times that nothing was fitted on.
        instructions: by data type (and ``int8_dot``), what its peak rate is computed from.
        vendor_peaks: by data type, peak rates that are taken as given.
        pipeline, costs: what instructions cost, for estimates.
        sources: for each of the figures above (features to bandwidth), where it is from.
    """

    schema: int
    name: str
    description: str
    isa: Isa
    features: tuple[Feature, ...] = ()
    cores: int | None = None
    clock_hz: float | None = None
    watts_per_core: float | None = None
    board_watts: float | None = None
    arch: Arch | None = None
    qemu_cpu: str | None = None
    midr_implementer: int | None = None
    midr_part: int | None = None
    midr_variant: int = 0
    l1d_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    bandwidth_bytes_per_s: tuple[float, ...] = ()
    calibration_error: float | None = None
    pipeline: Pipeline | None = None
    costs: tuple[Cost, ...] = ()
    instructions: dict[str, Instruction] = field(default_factory=dict)
    vendor_peaks: dict[str, VendorPeak] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise RecipeError("unknown schema", got=self.schema, wanted=SCHEMA, remedy="update edgeq or the file")
        for name in _FIGURES:
            _positive(name, getattr(self, name))
        if self.calibration_error is not None and not 0 <= self.calibration_error < 1:
            raise RecipeError("out of range", where="calibration_error", got=self.calibration_error, wanted="0 to 1")
        if self.bandwidth_bytes_per_s:
            check_interval("bandwidth_bytes_per_s", self.bandwidth_bytes_per_s)
        if self.watts_per_core is not None and self.board_watts is not None:
            raise RecipeError("give watts_per_core or board_watts, not both")
        if self.instructions and (self.cores is None or self.clock_hz is None):
            raise RecipeError("a peak from instructions needs cores and clock_hz")
        self._check_emulation()
        self._check_data_types()
        self._check_sources()
        check_costs(self.costs, self.pipeline)

    def _check_emulation(self) -> None:
        given = {name for name in ("qemu_cpu", "midr_implementer", "midr_part") if getattr(self, name) is not None}
        if (self.arch is not None) != (len(given) == 3) or (self.arch is None and given):
            got = ", ".join(sorted(given | ({"arch"} if self.arch else set())))
            raise RecipeError("arch, qemu_cpu, midr_implementer and midr_part belong together", got=got)
        for name, limit in (("midr_implementer", 0xFF), ("midr_part", 0xFFF), ("midr_variant", 0xF)):
            if not 0 <= (getattr(self, name) or 0) <= limit:
                raise RecipeError("out of range", where=name, got=getattr(self, name), wanted=f"0 to {limit:#x}")
        if self.qemu_cpu is not None and not _CPU.fullmatch(self.qemu_cpu):
            raise RecipeError("is no CPU that QEMU can have", where="qemu_cpu", got=repr(self.qemu_cpu))

    def _check_data_types(self) -> None:
        for key in (*self.instructions, *self.vendor_peaks):
            if key not in get_args(PeakKey):
                raise RecipeError("unknown data type", got=repr(key), wanted=", ".join(get_args(PeakKey)))
        both = sorted(self.instructions.keys() & self.vendor_peaks.keys())
        if both:
            raise RecipeError("one data type has an instruction and a vendor's peak", got=", ".join(both))

    def _check_sources(self) -> None:
        given = {name for name in _NEED_SOURCE if getattr(self, name) not in (None, (), 0, "")}
        without = sorted(given - self.sources.keys())
        if without:
            raise RecipeError(f"{', '.join(without)} without a source", remedy="say in [sources] where it is from")
        unknown = sorted(self.sources.keys() - given)
        if unknown:
            raise RecipeError("a source for a figure that is not given", got=", ".join(unknown))


def list_targets() -> list[str]:
    """Names of the devices that ship with edgeq, sorted."""
    return data_names("targets")


def load_target(name_or_path: str | Path) -> Target:
    """Read a device.

    Args:
        name_or_path: a name of :func:`list_targets`, or a path to one's own TOML file.

    Returns:
        Its figures, checked.

    Raises:
        RecipeError: no such name or file, no TOML, an unknown key (the nearest is named), a value of the wrong type or
            range, or a figure without a source.
    """
    path = find_data_file("targets", str(name_or_path))
    return table_to_dataclass(Target, read_toml(path), where=str(path))


def peak_ops(target: Target, data_type: PeakKey) -> float | None:
    """The peak rate in operations a second, in the convention of the paper's Table 1; None where none is known.

    ``clock / reciprocal throughput * lanes * cores``, one operation a multiply-accumulate, where the instruction is
    known; else the vendor's figure, which may count two (its ``ops_per_mac`` says).

    Source: Naumov et al. 2018, footnote 1 and Table 1.
    """
    if data_type in target.vendor_peaks:
        return target.vendor_peaks[data_type].ops_per_s
    if data_type not in target.instructions:
        return None
    instruction = target.instructions[data_type]
    assert target.clock_hz is not None and target.cores is not None  # Target checks it
    return target.clock_hz / instruction.reciprocal_throughput * instruction.lanes * target.cores


def board_watts(target: Target) -> float | None:
    """Power in W with every core busy; None where it is not known.

    Source: Naumov et al. 2018, footnote 1.
    """
    if target.board_watts is not None:
        return target.board_watts
    if target.watts_per_core is None or target.cores is None:
        return None
    return target.watts_per_core * target.cores
