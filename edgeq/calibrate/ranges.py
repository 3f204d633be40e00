"""The range of every activation over a calibration set, by onnxruntime; its calibrators make the histograms."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.calibrate.minmax import minmax_ranges
from edgeq.calibrate.recipe import CalibrationRecipe
from edgeq.errors import DataError, ExportError
from edgeq.progress import Progress, Silent

__all__ = ["calibrate", "least_squares_range"]

CHUNK_BYTES = 128 << 20  # activations held at a time: onnxruntime's calibrators keep what they are given until asked
LEVELS = 255
CANDIDATES = 64

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
    count, step = len(next(iter(samples.values()))), _chunk(model)
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        calibrator = _calibrator(model, recipe, Path(folder))
        for start in range(0, count, step):
            part = {name: array[start : start + step] for name, array in samples.items()}
            with contextlib.redirect_stdout(io.StringIO()):  # its histogram collectors print
                calibrator.collect_data(_Reader(part))
            advance(min(step, count - start))
        return _ranges(calibrator, recipe)


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


def _chunk(model: ir.Model) -> int:
    """How many samples' activations fit the memory set aside for them."""
    shapes = [node.outputs[0].shape for node in model.graph]
    total = sum(math.prod(size for size in shape if isinstance(size, int)) for shape in shapes if shape is not None)
    return max(1, CHUNK_BYTES // max(4 * total, 1))


class _Reader:
    """Samples one by one, as onnxruntime's calibrators ask for them."""

    def __init__(self, samples: Mapping[str, NDArray[np.float32]]) -> None:
        self._next = self._rows(samples)

    @staticmethod
    def _rows(samples: Mapping[str, NDArray[np.float32]]) -> Iterator[dict[str, NDArray[np.float32]]]:
        for i in range(len(next(iter(samples.values())))):
            yield {name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()}

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._next, None)


def _calibrator(model: ir.Model, recipe: CalibrationRecipe, folder: Path) -> Any:
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    path = folder / "float.onnx"
    ir.save(model, path)
    histogram = {"num_bins": recipe.bins, "symmetric": False}  # of the values, not of their magnitudes
    methods: dict[str, tuple[Any, dict[str, Any]]] = {
        "entropy": (CalibrationMethod.Entropy, {}),
        "percentile": (CalibrationMethod.Percentile, {**histogram, "percentile": recipe.percentile}),
        "mse": (CalibrationMethod.Percentile, histogram),  # for its histograms alone
    }
    method, options = methods[recipe.method]
    return create_calibrator(
        path,
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=method,
        extra_options=options,
    )


def _ranges(calibrator: Any, recipe: CalibrationRecipe) -> Ranges:
    if recipe.method == "mse":
        histograms: dict[str, Sequence[Any]] = calibrator.collector.get_histogram_dict()
        return {name: least_squares_range(entry[0], entry[1], entry[2], entry[3]) for name, entry in histograms.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        data = calibrator.compute_data()
    ranges: Ranges = {}
    for name in data.keys():  # noqa: SIM118  (TensorsData is no dict: iterating it gives other things)
        low, high = data[name].range_value
        ranges[name] = (float(np.asarray(low).ravel()[0]), float(np.asarray(high).ravel()[0]))
    return ranges


def least_squares_range(
    counts: NDArray[np.int64], edges: NDArray[np.float32], least: float, most: float
) -> tuple[float, float]:
    """The range whose 8-bit grid has the least mean squared error over a histogram.

    Args:
        counts: values a bin, [B].
        edges: of the bins, [B + 1].
        least, most: the smallest and largest value seen.

    Returns:
        (low, high): each end pulled in from least and most by the share that costs least, one end after the other.
    """
    centres = (edges[:-1].astype(np.float64) + edges[1:]) / 2
    used = counts > 0
    centres, weight = centres[used], counts[used].astype(np.float64)
    low, high = min(float(least), 0.0), max(float(most), 0.0)
    if not centres.size or high == low:
        return low, high
    shares = np.linspace(1 / CANDIDATES, 1, CANDIDATES)
    for _ in range(2):
        if high > 0:
            highs = shares * max(float(most), 0.0)
            high = float(highs[np.argmin([_error(centres, weight, low, item) for item in highs])])
        if low < 0:
            lows = shares * min(float(least), 0.0)
            low = float(lows[np.argmin([_error(centres, weight, item, high) for item in lows])])
    return low, high


def _error(centres: NDArray[np.float64], weight: NDArray[np.float64], low: float, high: float) -> float:
    step = (high - low) / LEVELS
    clipped = np.clip(centres, low, high)
    rounded = np.rint(clipped / step) * step
    return float((weight * (centres - rounded) ** 2).sum())
