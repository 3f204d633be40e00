"""The JSON that ``edgeq bench --save`` writes, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeq.bench.board import Measured
from edgeq.bench.result import Emulation
from edgeq.errors import FormatError, RecipeError
from edgeq.recipe import table_to_dataclass

__all__ = ["read_bench"]

MOST_BYTES = 256 << 20


def read_bench(path: Path) -> list[Emulation | Measured]:
    """Results of ``edgeq bench``.

    Raises:
        FormatError: the file cannot be read, is larger than 256 MiB, or is of something else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FormatError("is too large", where=path, wanted=f"at most {MOST_BYTES:,} bytes")
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise FormatError("is no JSON", where=path, got=error) from error
    remedy = "give the file that edgeq bench --save wrote"
    found = document.get("results") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        raise FormatError("has no results of a bench", where=path, remedy=remedy)
    results: list[Emulation | Measured] = []
    for item in found:
        if not isinstance(item, dict):
            raise FormatError("has no results of a bench", where=path, remedy=remedy)
        try:
            cls: type[Emulation | Measured] = Measured if "measurement" in item else Emulation
            results.append(table_to_dataclass(cls, item, where=str(path)))
        except RecipeError as error:
            raise FormatError(error.what, where=path, got=error.got, wanted=error.wanted, remedy=remedy) from error
    return results
