"""The range of every activation over a calibration set: onnxruntime runs the network, what is seen is counted here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.calibrate.clipping import least_squares_range, percentile_range
from edgeq.calibrate.histogram import collect_histograms
from edgeq.calibrate.minmax import minmax_ranges
from edgeq.calibrate.recipe import CalibrationRecipe
from edgeq.errors import DataError, ExportError
from edgeq.progress import Progress, Silent

__all__ = ["calibrate"]

Ranges = dict[str, tuple[float, float]]


def calibrate(
    model: ir.Model,
    samples: Mapping[str, NDArray[np.float32]],
    recipe: CalibrationRecipe,
    *,
    progress: Progress | None = None,
) -> Ranges:
    """Run a float model over a calibration set and give each activation a range.

    Args:
        model: float ONNX with batch 1.
        samples: one float32 array an input, samples first.
        recipe: the method and its parameters; its number of samples is the caller's to apply.
        progress: shown a sample at a time.

    Returns:
        (low, high) by value name, inputs included.

    Raises:
        DataError: no samples, a sample of the wrong shape, or one with values that are not finite.
        ExportError: onnxruntime cannot run the model.
    """
    progress = progress or Silent()
    count = _check(model, samples)
    try:
        with progress.task("calibrating", count) as task:
            collect = minmax_ranges if recipe.method == "minmax" else partial(_histogram_ranges, recipe)
            ranges = collect(model, samples, task.advance)
    except (DataError, ExportError):
        raise
    except Exception as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExportError("onnxruntime cannot calibrate the network", got=detail[:300]) from error
    for name, array in samples.items():
        ranges.setdefault(name, (float(array.min()), float(array.max())))
    for value in model.graph.outputs:
        if str(value.name) not in ranges and value.dtype in (None, ir.DataType.FLOAT):
            raise ExportError("calibration gave no range", where=f"value {value.name}")
    return ranges


def _histogram_ranges(
    recipe: CalibrationRecipe,
    model: ir.Model,
    samples: Mapping[str, NDArray[np.float32]],
    advance: Callable[[int], None],
) -> Ranges:
    ranges: Ranges = {}
    for name, found in collect_histograms(model, samples, recipe.bins, advance).items():
        seen = found.counts, found.edges, found.least, found.most
        if not math.isfinite(found.most - found.least):
            ranges[name] = found.least, found.most
        elif recipe.method == "percentile":
            ranges[name] = percentile_range(*seen, recipe.percentile)
        else:
            ranges[name] = least_squares_range(*seen)
    return ranges


def _check(model: ir.Model, samples: Mapping[str, NDArray[np.float32]]) -> int:
    counts = set()
    for value in model.graph.inputs:
        name = str(value.name)
        if name not in samples:
            raise DataError("the calibration set lacks an input", where=name, got=", ".join(samples) or "none")
        wanted = tuple(value.shape)[1:] if value.shape is not None else None
        if samples[name].shape[1:] != wanted:
            raise DataError(
                "the calibration set has the wrong shape", where=name, got=samples[name].shape, wanted=wanted
            )
        bad = samples[name].size - np.count_nonzero(np.isfinite(samples[name]))
        if bad:
            raise DataError("the calibration set has values that are NaN or infinite", where=name, got=f"{bad} of them")
        counts.add(len(samples[name]))
    if len(counts) != 1 or not min(counts):
        raise DataError("the calibration set is empty", got=sorted(counts), wanted="one sample or more an input")
    return counts.pop()
