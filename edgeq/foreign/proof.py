"""What a converted file gives, beside what the ONNX model that it came from gives in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.foreign.editor import dequantizer, quantizers
from edgeq.onnx_session import open_session
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Quantization
from edgeq.tflite.qdq_values import grid_of
from edgeq.verify.litert import run
from edgeq.verify.report import OutputParity

__all__ = ["compare_outputs", "noise", "run_original"]

UNSIGNED: Final = 128  # what a uint8 code is above the int8 code of the same number

Samples = Mapping[str, NDArray[np.float32]]


def noise(canonical: ir.Model, count: int) -> dict[str, NDArray[np.float32]]:
    """Random numbers on the grids of a model's inputs, float32 [count, ...] by name: the first sample takes all of
    the codes, each further one half as many about zero."""
    generator = np.random.default_rng(0)
    found = {}
    for value in canonical.graph.inputs:
        shape = tuple(int(str(size)) for size in value.shape or ())[1:]
        grid = grid_of(quantizers(value)[0])
        limits = np.iinfo(grid.dtype)
        spread = 0.5 ** np.arange(count).reshape(-1, *(1 for _ in shape))
        drawn = generator.uniform(limits.min, limits.max, (count, *shape)) - grid.zero_point[0]
        found[str(value.name)] = (np.rint(drawn * spread) * grid.scale[0]).astype(np.float32)
    return found


def run_original(original: ir.Model, canonical: ir.Model, samples: Samples) -> list[list[NDArray[Any]]]:
    """Run a model as its producer wrote it in onnxruntime, without optimizations.

    Args:
        original: the model.
        canonical: the same as :func:`edgeq.foreign.make_canonical` made it, which has the grids of integer inputs.
        samples: real numbers [count, ...] by input name.

    Returns:
        For each sample an array an output.

    Raises:
        Exception: onnxruntime cannot run the model; of a class that follows from its status code.
    """
    session = open_session(original)
    feeds = {
        str(theirs.name): _as_given(samples[str(ours.name)], theirs, ours)
        for theirs, ours in zip(original.graph.inputs, canonical.graph.inputs, strict=True)
    }
    count = len(next(iter(samples.values())))
    return [session.run(None, {name: array[i : i + 1] for name, array in feeds.items()}) for i in range(count)]


def compare_outputs(
    content: bytes, inputs: Sequence[NDArray[Any]], canonical: ir.Model, wanted: Sequence[Sequence[NDArray[Any]]]
) -> OutputParity:
    """Run a file in LiteRT and compare what it gives with what its model gave.

    Args:
        content: the .tflite file.
        inputs: samples as the file takes them, an array an input.
        canonical: the model that it was made from, which has the grids of the outputs.
        wanted: of :func:`run_original`.
    """
    equal, values, most = 0, 0, None
    found = run(content, inputs, workers=1)
    for given, theirs, value in zip(found, zip(*wanted, strict=True), canonical.graph.outputs, strict=True):
        layout, source = Layout.arranged(theirs[0].shape), dequantizer(value)
        ours = [layout.to_onnx(part) for part in np.split(given, len(theirs))]
        if source is None:  # classes, truth values
            differences = np.not_equal(ours, theirs).astype(np.int64)
        else:
            grid = grid_of(source)
            differences = np.abs(_codes(np.stack(ours), grid) - _codes(np.stack(theirs), grid))
            most = max(most or 0, int(differences.max(initial=0)))
        equal, values = equal + int((differences == 0).sum()), values + differences.size
    return OutputParity(100.0 * equal / max(values, 1), most)


def _as_given(real: NDArray[np.float32], theirs: ir.Value, ours: ir.Value) -> NDArray[Any]:
    """An input in the type that the original model takes."""
    assert theirs.dtype is not None
    kind = theirs.dtype.numpy()
    if kind.kind not in "iu":
        return real.astype(kind)
    return (_codes(real, grid_of(quantizers(ours)[0])) + (UNSIGNED if kind == np.uint8 else 0)).astype(kind)


def _codes(values: NDArray[Any], grid: Quantization) -> NDArray[np.int64]:
    """Signed codes on a grid: of real numbers the nearest, of stored codes themselves."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64) - (UNSIGNED if values.dtype == np.uint8 else 0)
    codes = np.rint(values.astype(np.float64) / grid.scale[0]) + grid.zero_point[0]
    limits = np.iinfo(grid.dtype)
    clipped: NDArray[np.int64] = np.clip(codes, limits.min, limits.max).astype(np.int64)
    return clipped
