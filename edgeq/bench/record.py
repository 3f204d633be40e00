"""The ``bench`` part of a build's manifest: the latest of each device, way, runtime and number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeq.bench.board import Measured
from edgeq.bench.result import Emulation
from edgeq.errors import FormatError
from edgeq.manifest import read_manifest, write_manifest

__all__ = ["entries_of", "record", "with_results"]

KEYS = ("target", "via", "lane", "threads")


def entries_of(found: Emulation | Measured) -> list[dict[str, Any]]:
    """The manifest's entries of a result: figures only, without the single operations."""
    if isinstance(found, Measured):
        measured = found.measurement
        power = measured.power
        return [
            {
                "target": found.target,
                "via": measured.via.partition("://")[0],
                "lane": found.lane,
                "basis": measured.basis,
                "equal_bytes": found.agreement.equal,
                "threads": measured.threads,
                "runs": measured.latency.runs,
                "p50_ms": measured.latency.p50.value_ns / 1e6,
                "p90_ms": measured.latency.p90.value_ns / 1e6,
                "p99_ms": measured.latency.p99.value_ns / 1e6,
                "energy_mj": None if power is None else 1e3 * power.energy_j,
                "flags": list(measured.flags),
            }
        ]
    return [
        {
            "target": found.target,
            "via": found.via,
            "lane": row.lane,
            "basis": "estimate",
            "equal_bytes": row.agreement.equal,
            "instructions": row.counts.total,
            "macs": row.macs,
            "macs_by_form": row.macs_by_form,
            "estimate": None if row.estimate is None else dataclasses.asdict(row.estimate),
        }
        for row in found.lanes
    ]


def with_results(manifest: dict[str, Any], found: Sequence[Emulation | Measured], where: Path) -> dict[str, Any]:
    """A manifest with results in place of earlier ones of the same device, way and runtime.

    Raises:
        FormatError: a result is of another file than the manifest's; the message names ``where``.
    """
    built = {item.get("sha256") for item in manifest.get("artifacts", [])}
    for item in found:
        if item.sha256 not in built:
            raise FormatError("what was measured is not the file that the manifest tells of", where=where)
    new = [entry for item in found for entry in entries_of(item)]
    keys = {tuple(map(entry.get, KEYS)) for entry in new}
    old = [entry for entry in manifest.get("bench", []) if tuple(map(entry.get, KEYS)) not in keys]
    return manifest | {"bench": old + new}


def record(folder: Path, found: Sequence[Emulation | Measured]) -> None:
    """Put results into a build's manifest.

    Raises:
        FormatError: the manifest cannot be read, or is of a build whose file is another than was measured.
    """
    path = folder / "manifest.json"
    write_manifest(path, with_results(read_manifest(path), found, folder))
