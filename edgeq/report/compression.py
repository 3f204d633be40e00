"""What was done to the network on its way: the compression methods with what each left, from a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MethodRow", "compression_rows"]

ELSEWHERE = {"method", "epochs", "learning_rate", "steps"}  # told in columns of their own, or as rounds


@dataclass(frozen=True, slots=True)
class MethodRow:
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


def compression_rows(manifest: Mapping[str, Any]) -> list[MethodRow]:
    """A row for each application of a method, in order: the options are the recipe's, for an entry of the manifest has
    the network's own multiply-adds where a method has a budget of that name."""
    tables: Iterator[Mapping[str, Any]] = iter(manifest.get("recipe", {}).get("compress", []))
    rows, chosen = list[MethodRow](), dict[str, Any]()
    for entry in manifest.get("compress") or []:
        if entry["round"] == 0:
            chosen = dict(next(tables, {}))
        shown = {key: value for key, value in chosen.items() if key not in ELSEWHERE and value}
        options = [f"{key}={value}" for key, value in shown.items()]
        if chosen.get("steps", 1) > 1:
            options.insert(0, f"round {entry['round'] + 1} of {chosen['steps']}")
        accuracy = entry.get("test_accuracy") if entry["epochs"] else None
        counts = (entry["epochs"], entry["parameters"], entry["macs"])
        rows.append(MethodRow(entry["method"], ", ".join(options), *counts, entry.get("zeros"), accuracy))
    return rows
