"""``manifest.json``: what was built, from what, how well it does and how that was checked."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgeq import __version__
from edgeq.errors import FormatError
from edgeq.grid import QuantizedWeight
from edgeq.json_file import read_json
from edgeq.whole_file import write_whole

__all__ = [
    "SCHEMA",
    "artifact_entries",
    "layer_entries",
    "mean_distance",
    "package_versions",
    "read_manifest",
    "write_manifest",
]

SCHEMA = 1
PACKAGES = ("torch", "lightning", "onnx", "onnxruntime", "onnxscript", "ai-edge-litert", "numpy")


def package_versions() -> dict[str, str]:
    """The versions that a result depends on."""
    versions = {"edgeq": __version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def layer_entries(table: Mapping[str, QuantizedWeight]) -> list[dict[str, Any]]:
    """A row a quantized layer: its shape, grid and the fingerprint of its integers."""
    return [
        {
            "name": name,
            "shape": list(weight.codes.shape),
            "bits": weight.grid.bits,
            "step": [float(step) for step in weight.step],
            "codes_sha256": hashlib.sha256(weight.codes.tobytes()).hexdigest(),
            "distance": round(weight.distance, 6),
        }
        for name, weight in table.items()
    ]


def mean_distance(layers: Iterable[Mapping[str, Any]]) -> float:
    """Of a manifest's layers: the mean distance of all weights from the grid before the snap, in steps."""
    weighted = [(math.prod(layer["shape"]), float(layer["distance"])) for layer in layers]
    return float(sum(size * distance for size, distance in weighted) / max(1, sum(size for size, _ in weighted)))


def artifact_entries(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Path, size and fingerprint of each file that is there."""
    entries = []
    for name in names:
        path = folder / name
        if path.is_file():
            content = path.read_bytes()
            entries.append({"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    return entries


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest in place of an earlier one, which a failure leaves as it was."""
    write_whole(path, (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        FormatError: unreadable, too large, no JSON, or of a schema this edgeq does not know.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        got = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise FormatError("is a manifest of another schema", where=path, got=got, wanted=SCHEMA)
    return manifest
