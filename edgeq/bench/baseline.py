"""Instruction counts that were recorded once, to notice when an artifact or a runtime comes to execute more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeq.bench.result import Emulation
from edgeq.errors import FormatError, VerifyError
from edgeq.json_file import read_json
from edgeq.whole_file import write_whole

__all__ = ["ALLOWED_RISE", "check_baseline", "read_baseline", "write_baseline"]

SCHEMA = 1
ALLOWED_RISE = 200  # one instruction in so many: 0.5 %


def check_baseline(found: Sequence[Emulation], recorded: Mapping[str, int]) -> None:
    """Raise where a lane executes over 0.5 % more instructions an inference than was recorded.

    Args:
        found: the emulations to judge.
        recorded: of :func:`read_baseline`.

    Raises:
        FormatError: nothing was recorded of a lane.
        VerifyError: the first lane that executes more, or that no longer has the file's operations.
    """
    for emulation in found:
        for lane, reason in emulation.left_out.items():
            if f"{emulation.target}/{lane}" in recorded:
                raise VerifyError("a recorded lane was not run", where=f"{emulation.target}/{lane}", got=reason)
    for name, instructions in _instructions(found).items():
        if name not in recorded:
            raise FormatError("no baseline for this lane", where=name, remedy="use --record-baseline")
        limit = recorded[name] + recorded[name] // ALLOWED_RISE
        if instructions > limit:
            rise = 100 * (instructions / recorded[name] - 1)
            got, wanted = f"{instructions:,}, {rise:.2f} % more", f"at most {limit:,}"
            raise VerifyError("more instructions an inference than recorded", where=name, got=got, wanted=wanted)


def write_baseline(found: Sequence[Emulation], path: Path) -> None:
    """Record the instructions of an inference, a line a lane, replacing the file."""
    document = {"schema": SCHEMA, "instructions": _instructions(found)}
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())


def _instructions(found: Sequence[Emulation]) -> dict[str, int]:
    return {f"{emulation.target}/{row.lane}": row.counts.total for emulation in found for row in emulation.lanes}


def read_baseline(path: Path) -> dict[str, int]:
    """Instructions of an inference, by lane, as :func:`write_baseline` leaves them.

    Raises:
        FormatError: unreadable, or no baseline.
    """
    document = read_json(path)
    table = document.get("instructions") if isinstance(document, dict) and document.get("schema") == SCHEMA else None
    if not isinstance(table, dict) or not all(type(value) is int and value > 0 for value in table.values()):
        raise FormatError("is no baseline", where=path, wanted=f"schema {SCHEMA} and instructions by lane")
    return table
