"""What was done to the network on its way: the compression methods with what each left, from a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CompressionRow", "compression_rows"]

KNOWN = {"method", "epochs", "learning_rate", "round", "parameters", "macs", "zeros", "seconds", "test_accuracy"}


@dataclass(frozen=True, slots=True)
class CompressionRow:
    """One application of a method.

    Attributes:
        method: its name.
        options: what was chosen, as ``--compress`` takes it; what is 0, empty or false is left out.
        epochs: of retraining after it.
        parameters, macs: of the network after it; multiply-adds an image.
        zeros: share of the weights, 0 to 1; None where the method does not count them.
        accuracy: in percent, after the retraining; None without one.
    """

    method: str
    options: str
    epochs: int
    parameters: int
    macs: int
    zeros: float | None
    accuracy: float | None


def compression_rows(manifest: Mapping[str, Any]) -> list[CompressionRow]:
    """A row for each application of a method, in order."""
    chosen = {table["method"]: table for table in manifest.get("recipe", {}).get("compress", [])}
    rows = []
    for entry in manifest.get("compress") or []:
        table = chosen.get(entry["method"], {})
        shown = {key: value for key, value in entry.items() if key in table and key not in KNOWN and value}
        steps = shown.pop("steps", 1)
        options = [f"{key}={value}" for key, value in shown.items()]
        if steps > 1:
            options.insert(0, f"round {entry['round'] + 1} of {steps}")
        accuracy = entry.get("test_accuracy") if entry["epochs"] else None
        rows.append(
            CompressionRow(
                entry["method"],
                ", ".join(options),
                entry["epochs"],
                entry["parameters"],
                entry["macs"],
                entry.get("zeros"),
                accuracy,
            )
        )
    return rows
