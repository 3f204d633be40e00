"""The JSON that ``edgeq bench --save`` writes, read back."""

from __future__ import annotations

from pathlib import Path

from edgeq.bench.board import Measured
from edgeq.bench.result import Emulation
from edgeq.errors import FormatError
from edgeq.json_file import from_table, read_json

__all__ = ["read_bench"]

MOST_BYTES = 256 << 20


def read_bench(path: Path) -> list[Emulation | Measured]:
    """Results of ``edgeq bench``.

    Raises:
        FormatError: the file cannot be read, is larger than 256 MiB, or is of something else.
    """
    document = read_json(path, most_bytes=MOST_BYTES)
    remedy = "give the file that edgeq bench --save wrote"
    found = document.get("results") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        raise FormatError("has no results of a bench", where=path, remedy=remedy)
    results: list[Emulation | Measured] = []
    for item in found:
        if not isinstance(item, dict):
            raise FormatError("has no results of a bench", where=path, remedy=remedy)
        cls: type[Emulation | Measured] = Measured if "measurement" in item else Emulation
        results.append(from_table(cls, item, path, remedy=remedy))
    return results
