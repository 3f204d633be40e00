"""JSON files of ours, hostile until read: bounded in size, any fault an error in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgeq.errors import FormatError, RecipeError
from edgeq.strict_toml import table_to_dataclass

__all__ = ["from_table", "read_json"]

MOST_BYTES = 64 << 20

_T = TypeVar("_T")


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """A JSON document.

    Raises:
        FormatError: it cannot be read, is larger than ``most_bytes``, or is no JSON.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise FormatError("is too large", where=path, wanted=f"at most {most_bytes:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise FormatError("is no JSON", where=path, got=error) from error


def from_table(cls: type[_T], table: Mapping[str, Any], path: Path, *, remedy: str = "") -> _T:
    """:func:`edgeq.recipe.table_to_dataclass` for a file whose faults are those of a format.

    Raises:
        FormatError: a key or a value is not what the dataclass takes.
    """
    try:
        return table_to_dataclass(cls, dict(table), where=str(path))
    except RecipeError as error:
        raise FormatError(error.what, where=error.where, got=error.got, wanted=error.wanted, remedy=remedy) from error
