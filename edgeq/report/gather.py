"""Collect what the report shows from the folder of a build or an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.grid import QuantizedWeight, broadcast_step
from edgeq.json_file import from_table
from edgeq.report.content import BenchedLane, Details, LayerView, ReportInput
from edgeq.report.details import read_details
from edgeq.verify.report import LayerParity

if TYPE_CHECKING:
    from edgeq.bench.board import Measured
    from edgeq.bench.result import Emulation

__all__ = ["benched_lanes", "gather_report", "layer_view"]

POSITION_BINS = 41
BINS_A_POINT = 9
MOST_POINTS = 25  # of the grid that the weights before the snap are drawn over; more would run into each other
MOST_TEXT_BYTES = 1 << 20


def gather_report(
    folder: Path, manifest: Mapping[str, Any], results: Sequence[Emulation | Measured] = ()
) -> ReportInput:
    """The report's input, from the files of a build, or of an export, which has fewer of them.

    Args:
        folder: with ``grid.safetensors`` and, after a training, ``checkpoint.safetensors``, ``report.json``,
            ``labels.txt`` and ``recipe.toml``.
        manifest: of the folder, checked by :func:`edgeq.report.manifest_view.check_manifest` where it is from outside.
        results: of ``edgeq bench``, for the rooflines and the times by operation.

    Raises:
        FormatError: a file is damaged, or does not belong to the others.
    """
    details = folder / "report.json"
    rows = (manifest.get("parity") or {}).get("layers") or []
    return ReportInput(
        manifest=manifest,
        details=read_details(details) if details.is_file() else Details(),
        layers=_layers(folder, [row["name"] for row in manifest.get("layers", [])]),
        parity=[from_table(LayerParity, row, folder / "manifest.json") for row in rows],
        classes=_text(folder / "labels.txt").splitlines(),
        recipe_toml=_text(folder / "recipe.toml"),
        bench=benched_lanes(results),
    )


def _text(path: Path) -> str:
    """A small text file that may be absent."""
    try:
        if not path.is_file():
            return ""
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise FormatError("is too large", where=path, wanted=f"at most {MOST_TEXT_BYTES:,} bytes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", where=path, got=error) from error


def _layers(folder: Path, order: Sequence[str]) -> list[LayerView]:
    """The layers in the network's order, which the manifest has; safetensors sorts names."""
    from safetensors import safe_open

    from edgeq.snap import load_grid

    if not (folder / "grid.safetensors").is_file():
        return []
    loaded = load_grid(folder / "grid.safetensors")
    table = {name: loaded[name] for name in (*filter(loaded.__contains__, order), *loaded)}
    checkpoint = folder / "checkpoint.safetensors"
    if not checkpoint.is_file():
        return [layer_view(name, weight) for name, weight in table.items()]
    views = []
    try:
        with safe_open(checkpoint, "numpy") as file:
            for name, weight in table.items():
                views.append(layer_view(name, weight, file.get_tensor(f"{name}.weight")))
    except FormatError:
        raise
    except Exception as error:  # SafetensorError, and what its parser lets through: OSError, ValueError, KeyError
        raise FormatError("is not the checkpoint of this grid", where=checkpoint, got=error) from error
    return views


def layer_view(name: str, weight: QuantizedWeight, values: NDArray[np.float32] | None = None) -> LayerView:
    """One layer after the snap and, where its float weights are given, before it.

    Raises:
        FormatError: the weights are of another shape.
    """
    qmax = weight.grid.qmax
    view: dict[str, Any] = {}
    if values is not None:
        if values.shape != weight.codes.shape:
            raise FormatError(
                "has another shape in the checkpoint", where=name, got=values.shape, wanted=weight.codes.shape
            )
        view = _before(weight, values)
    return LayerView(
        name=name,
        shape=weight.codes.shape,
        bits=weight.grid.bits,
        step_min=float(weight.step.min()),
        step_max=float(weight.step.max()),
        code_counts=np.bincount(weight.codes.ravel().astype(np.int64) + qmax, minlength=2 * qmax + 1),
        **view,
    )


def _before(weight: QuantizedWeight, values: NDArray[np.float32]) -> dict[str, Any]:
    """Where the float weights lay: from the nearest grid point, and over the middle of the grid."""
    apart = 2 if weight.grid.function == "cosine" else 1  # codes from one grid point to the next
    place = values.astype(np.float64) / broadcast_step(weight.step, values.ndim) / apart
    position = place - weight.codes / apart
    positions, _ = np.histogram(np.clip(position, -0.5, 0.5), bins=POSITION_BINS, range=(-0.5, 0.5))
    points = min(MOST_POINTS - (apart - 1), weight.grid.qmax + 1 if apart == 2 else 2 * weight.grid.qmax + 1)
    before, _ = np.histogram(place, bins=points * BINS_A_POINT, range=(-points / 2, points / 2))
    return {
        "position_histogram": positions.astype(np.int64),
        "before": before.astype(np.int64),
        "points": points,
    }


def benched_lanes(results: Sequence[Emulation | Measured]) -> list[BenchedLane]:
    """What the page draws of a bench: runtimes whose operations were counted alone."""
    if not results:
        return []
    from edgeq.bench.result import Emulation
    from edgeq.report.benched import benched_lane

    emulations = [found for found in results if isinstance(found, Emulation)]
    return [benched_lane(lane, found.target) for found in emulations for lane in found.lanes if lane.operations]
