"""The devices of ``targets/*.toml``: read strictly, and their peak rates as in the paper's Table 1. No measuring.

Adding a device is adding a file; every figure in it names its source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from edgeq.errors import RecipeError
from edgeq.recipe import read_toml, table_to_dataclass
from edgeq.resources import data_names, find_data_file

__all__ = [
    "DataType",
    "Feature",
    "Instruction",
    "Isa",
    "Target",
    "VendorPeak",
    "board_watts",
    "list_targets",
    "load_target",
    "peak_ops",
]

DataType = Literal["fp32", "fp16", "int8"]
Isa = Literal["armv7-a", "armv8-a", "armv8.2-a", "armv9-a", "x86-64", "sm_75", "native"]
Feature = Literal["neon", "fp16", "dotprod", "i8mm"]

SCHEMA = 1
_NEED_SOURCE = ("features", "cores", "clock_hz", "watts_per_core", "board_watts")


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
    """

    mnemonic: str
    lanes: int
    reciprocal_throughput: float
    source: str

    def __post_init__(self) -> None:
        _positive("lanes", self.lanes)
        _positive("reciprocal_throughput", self.reciprocal_throughput)


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
        instructions: by data type, what its peak rate is computed from.
        vendor_peaks: by data type, peak rates that are taken as given.
        sources: for each of the figures above (features to board_watts), where it is from.
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
    instructions: dict[str, Instruction] = field(default_factory=dict)
    vendor_peaks: dict[str, VendorPeak] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise RecipeError("unknown schema", got=self.schema, wanted=SCHEMA, remedy="update edgeq or the file")
        for name in ("cores", "clock_hz", "watts_per_core", "board_watts"):
            _positive(name, getattr(self, name))
        if self.watts_per_core is not None and self.board_watts is not None:
            raise RecipeError("give watts_per_core or board_watts, not both")
        if self.instructions and (self.cores is None or self.clock_hz is None):
            raise RecipeError("a peak from instructions needs cores and clock_hz")
        self._check_data_types()
        self._check_sources()

    def _check_data_types(self) -> None:
        for key in (*self.instructions, *self.vendor_peaks):
            if key not in get_args(DataType):
                raise RecipeError("unknown data type", got=repr(key), wanted=", ".join(get_args(DataType)))
        both = sorted(self.instructions.keys() & self.vendor_peaks.keys())
        if both:
            raise RecipeError("one data type has an instruction and a vendor's peak", got=", ".join(both))

    def _check_sources(self) -> None:
        given = {name for name in _NEED_SOURCE if getattr(self, name)}
        without = sorted(given - self.sources.keys())
        if without:
            raise RecipeError(f"{', '.join(without)} without a source", remedy="say in [sources] where it is from")
        unknown = sorted(self.sources.keys() - given)
        if unknown:
            raise RecipeError("a source for a figure that is not given", got=", ".join(unknown))


def list_targets() -> list[str]:
    """Names of the devices that ship with edgeq, sorted."""
    return data_names("targets")


def load_target(name_or_path: str) -> Target:
    """Read a device.

    Args:
        name_or_path: a name of :func:`list_targets`, or a path to one's own TOML file.

    Raises:
        RecipeError: no such name or file, no TOML, an unknown key (the nearest is named), a value of the wrong type or
            range, or a figure without a source.
    """
    path = find_data_file("targets", name_or_path)
    return table_to_dataclass(Target, read_toml(path), where=str(path))


def peak_ops(target: Target, data_type: DataType) -> float | None:
    """The peak rate in operations a second, in the convention of the paper's Table 1; None where none is known.

    ``clock / reciprocal throughput * lanes * cores``, one operation a multiply-accumulate, where the instruction is
    known; else the vendor's figure, which may count two (:attr:`VendorPeak.ops_per_mac` says).

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
