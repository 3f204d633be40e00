"""What a converted file gives, beside what the ONNX model that it came from gives in onnxruntime."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.foreign.editor import dequantizer, quantizers
from edgeq.onnx_session import open_session
from edgeq.progress import Progress
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Graph, Quantization
from edgeq.tflite.qdq_values import grid_of
from edgeq.verify.few_samples import Samples, file_inputs
from edgeq.verify.litert import run
from edgeq.verify.report import OutputParity

__all__ = ["compare_outputs", "noise"]

UNSIGNED: Final = 128  # what a uint8 code is above the int8 code of the same number


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


def compare_outputs(
    original: ir.Model, canonical: ir.Model, graph: Graph, content: bytes, samples: Samples, progress: Progress
) -> OutputParity | None:
    """Run a file in LiteRT, and the model as its producer wrote it in onnxruntime, without optimizations.

    Args:
        original: the model.
        canonical: the same as :func:`edgeq.foreign.make_canonical` made it, which has the grids of the ends.
        graph, content: the file that it became.
        samples: real numbers [count, ...] by input name.
        progress: warned where onnxruntime does not run the model.

    Returns:
        What was found; None where onnxruntime does not run it.
    """
    try:
        wanted = _run(original, canonical, samples)
    except Exception as error:  # onnxruntime raises a class a status code
        reason = str(error).splitlines()[0]
        progress.warn(f"the outputs are not compared: onnxruntime does not run the model ({reason})")
        return None
    equal, values, most = 0, 0, None
    found = run(content, file_inputs(graph, samples), workers=1)
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


def _run(original: ir.Model, canonical: ir.Model, samples: Samples) -> list[list[NDArray[Any]]]:
    """For each sample an array an output; what onnxruntime raises where it cannot."""
    session = open_session(original)
    feeds = {
        str(theirs.name): _as_given(samples[str(ours.name)], theirs, ours)
        for theirs, ours in zip(original.graph.inputs, canonical.graph.inputs, strict=True)
    }
    count = len(next(iter(samples.values())))
    return [session.run(None, {name: array[i : i + 1] for name, array in feeds.items()}) for i in range(count)]


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
