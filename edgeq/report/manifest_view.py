"""The parts of a manifest that the page shows, checked, so that a damaged one is an error in one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.errors import FormatError
from edgeq.json_file import from_table

__all__ = ["check_manifest"]


@dataclass(frozen=True, slots=True)
class _Data:
    name: str
    train: int
    test: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Parity:
    max_code_difference: int | None = None
    top1_agreement: float | None = None
    samples: int = 0
    layer_samples: int = 0
    codes: int = 0
    codes_kept: int = 0


@dataclass(frozen=True, slots=True)
class _Compress:
    method: str
    epochs: int
    round: int
    parameters: int
    macs: int
    zeros: float | None = None
    test_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class _Chosen:
    method: str
    steps: int = 1


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    distance: float


@dataclass(frozen=True, slots=True)
class _Artifact:
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    seconds: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class _Interval:
    low_ms: float
    mid_ms: float
    high_ms: float
    low_mj: float | None
    high_mj: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Bench:
    target: str
    via: str
    lane: str
    basis: str
    equal_bytes: bool
    instructions: int = 0
    macs: int = 0
    threads: int = 0
    runs: int = 0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    energy_mj: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Manifest:
    edgeq: str = ""
    model: str = ""
    mode: str = "int8"
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, float | None] = field(default_factory=dict)
    error: dict[str, float | None] = field(default_factory=dict)


_TABLES: dict[str, type] = {"data": _Data, "parity": _Parity}
_LISTS: dict[str, type] = {
    "compress": _Compress,
    "layers": _Layer,
    "artifacts": _Artifact,
    "stages": _Stage,
    "bench": _Bench,
}


def check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Refuse a manifest whose parts are not what the page takes them for; what it does not show may be anything.

    Raises:
        FormatError: names the part.
    """
    _check(_Manifest, manifest, path, "the manifest")
    recipe = manifest.get("recipe", {})
    if not isinstance(recipe, dict):
        raise FormatError("is no table", where=f"{path}: recipe")
    chosen = recipe.get("compress", [])
    if not isinstance(chosen, list) or not all(isinstance(table, dict) for table in chosen):
        raise FormatError("is no list of tables", where=f"{path}: recipe.compress")
    for table in chosen:
        _check(_Chosen, table, path, "recipe.compress")
    for key, cls in _TABLES.items():
        if key in manifest:
            _check(cls, manifest[key], path, key)
    for key, cls in _LISTS.items():
        rows = manifest.get(key, [])
        if not isinstance(rows, list):
            raise FormatError("is no list", where=f"{path}: {key}")
        for row in rows:
            _check(cls, row, path, key)
            if cls is _Bench and row.get("estimate") is not None:
                _check(_Interval, row["estimate"], path, "bench.estimate")
    rows = manifest.get("parity", {}).get("layers", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FormatError("is no list of tables", where=f"{path}: parity.layers")


def _check(cls: type, table: object, path: Path, key: str) -> None:
    if not isinstance(table, dict):
        raise FormatError("is no table", where=f"{path}: {key}")
    names = {item.name for item in dataclasses.fields(cls)}
    try:
        from_table(cls, {name: value for name, value in table.items() if name in names}, path)
    except FormatError as error:
        raise FormatError(f"{key}: {error.what}", where=path, got=error.got, wanted=error.wanted) from error
