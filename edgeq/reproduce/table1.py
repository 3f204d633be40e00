"""The paper's Table 1 from the figures of ``targets/``: as printed, and with all rows counted alike. No measuring.

Source: Naumov et al. 2018, "On Periodic Functions as Regularizers for Quantization of Neural Networks", Table 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, get_args

from edgeq.display.summary import Result, Summary, table
from edgeq.targets import DataType, PeakKey, Target, board_watts, load_target, peak_ops

__all__ = ["PeakRow", "Table1", "Table1Row", "reproduce_table1"]

TABLE_1_TARGETS = ("cortex-a7", "cortex-a75", "tesla-t4")
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Table1Row:
    """A row of Table 1 as it is printed.

    Attributes:
        target: the device.
        ghz: its clock.
        cores: its cores; None where the table gives none.
        watts: its power with all of them busy.
        gops: peak by data type in Gops, None where the table has a dash. ARM's rows count a multiply-accumulate as one
            operation, the GPU's as two.
    """

    target: str
    ghz: float | None
    cores: int | None
    watts: float | None
    gops: dict[DataType, float | None]


@dataclass(frozen=True, slots=True)
class PeakRow:
    """A peak that can be compared with any other row's.

    Attributes:
        target: the device.
        data_type: what is multiplied; ``int8_dot`` is int8 by dot products, which the paper leaves out.
        instruction: what the peak rests on; "vendor's figure" where that is all there is.
        gmacs: multiply-accumulates a second, in 10^9.
        gops: operations a second, in 10^9, two a multiply-accumulate.
        gmacs_high, gops_high: the same where the published figures leave a range; else equal to the former.
        gops_per_watt: at ``gops``; None where the power is not known.
        printed_gops: the same cell of Table 1; None where the paper has none.
        source: of the figure.
    """

    target: str
    data_type: PeakKey
    instruction: str
    gmacs: float
    gops: float
    gmacs_high: float
    gops_high: float
    gops_per_watt: float | None
    printed_gops: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Table1(Result):
    """Table 1 twice.

    Attributes:
        printed: as in the paper.
        corrected: every row in multiply-accumulates and in operations.
        notes: what was done and why.
    """

    printed: tuple[Table1Row, ...]
    corrected: tuple[PeakRow, ...]
    notes: tuple[str, ...] = field(
        default=(
            "As printed, ARM's rows count a multiply-accumulate as one operation and the GPU's as two.",
            "Corrected: two operations a multiply-accumulate in every row.",
            "int8_dot is SDOT, which the paper leaves out; not every core of its class has it, and its throughput is "
            "not published: the lower figure is one a cycle, the higher two.",
            "Peaks are of instructions that do nothing but multiply; no network reaches them.",
        )
    )

    def summary(self) -> Summary:
        printed = [
            [row.target, _number(row.cores), _number(row.ghz), _number(row.watts), *map(_number, row.gops.values())]
            for row in self.printed
        ]
        corrected = [
            [
                row.target,
                row.data_type,
                row.instruction,
                _range(row.gmacs, row.gmacs_high),
                _range(row.gops, row.gops_high),
                _number(row.printed_gops),
                _number(row.gops_per_watt),
            ]
            for row in self.corrected
        ]
        columns = ["", "type", "instruction", "GMAC/s", "Gops", "printed", "Gops/W"]
        return (
            table(
                "Table 1 as printed, peak Gops",
                ["", "cores", "GHz", "W", "fp32", "fp16", "int8"],
                printed,
                right=set(range(1, 7)),
            ),
            table("Counted alike: two operations a multiply-accumulate", columns, corrected, right={3, 4, 5, 6}),
            *self.notes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Both tables and the notes."""
        return dataclasses.asdict(self)


def reproduce_table1() -> Table1:
    """Compute the table from the targets that ship with edgeq: ``edgeq reproduce table1``.

    Raises:
        RecipeError: one of their files is damaged.
    """
    targets = [load_target(name) for name in TABLE_1_TARGETS]
    return Table1(
        printed=tuple(_printed(target) for target in targets),
        corrected=tuple(
            row for target in targets for key in get_args(PeakKey) if (row := _corrected(target, key)) is not None
        ),
    )


def _printed(target: Target) -> Table1Row:
    return Table1Row(
        target=target.name,
        ghz=None if target.clock_hz is None else target.clock_hz / GIGA,
        cores=target.cores,
        watts=board_watts(target),
        gops={data_type: _printed_gops(target, data_type) for data_type in get_args(DataType)},
    )


def _printed_gops(target: Target, key: PeakKey) -> float | None:
    peak = peak_ops(target, key) if key in get_args(DataType) else None
    return None if peak is None else peak / GIGA


def _corrected(target: Target, key: PeakKey) -> PeakRow | None:
    peak = peak_ops(target, key)
    if peak is None:
        return None
    vendor, instruction = target.vendor_peaks.get(key), target.instructions.get(key)
    gmacs = peak / GIGA / (vendor.ops_per_mac if vendor else 1)
    spread = 1.0
    if instruction and instruction.reciprocal_throughput_low:
        spread = instruction.reciprocal_throughput / instruction.reciprocal_throughput_low
    watts = board_watts(target)
    figure = instruction or vendor
    assert figure is not None  # or there were no peak
    return PeakRow(
        target=target.name,
        data_type=key,
        instruction=instruction.mnemonic if instruction else "vendor's figure",
        gmacs=gmacs,
        gops=2 * gmacs,
        gmacs_high=gmacs * spread,
        gops_high=2 * gmacs * spread,
        gops_per_watt=None if watts is None else 2 * gmacs / watts,
        printed_gops=_printed_gops(target, key),
        source=figure.source,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _range(low: float, high: float) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"
