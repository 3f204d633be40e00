"""How far floats of one layer may be apart between runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.tflite.model import Graph, Operator

__all__ = ["FLOAT_TOLERANCE", "float_bound", "relative_error"]

FLOAT_TOLERANCE = 1e-5
"""Of the largest magnitude: sums of thousands of float32 products in another order differ by about 1e-6 of it."""


def relative_error(found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]]) -> float:
    """The largest difference over the largest magnitude of what is wanted."""
    magnitude = max((float(np.abs(part).max(initial=0)) for part in wanted), default=0.0)
    apart = max((float(np.abs(a - b).max(initial=0)) for a, b in zip(found, wanted, strict=True)), default=0.0)
    return apart / magnitude if magnitude else apart


def float_bound(graph: Graph, operator: Operator, values: Mapping[str, Sequence[NDArray[Any]]]) -> float:
    """What the relative error of an operation with a float result may be.

    A layer with integer weights quantizes its input x as it comes, to a step of max|x| / 127 at most (symmetric; an
    asymmetric one is finer): each product is off by half a step at most, and their sum by that times the sum of |w|.

    Args:
        graph, operator: what is computed.
        values: by tensor name, a float array a sample.
    """
    weights = [graph.tensors[i] for i in operator.inputs if i >= 0 and graph.tensors[i].data is not None]
    stored = next((tensor for tensor in weights if tensor.dtype in ("int8", "int4", "int2")), None)
    result = values[graph.tensors[operator.outputs[0]].name]
    magnitude = max((float(np.abs(part).max(initial=0)) for part in result), default=0.0)
    if stored is None or stored.quantization is None or stored.data is None or not magnitude:
        return FLOAT_TOLERANCE
    axis = stored.quantization.axis
    rows = np.moveaxis(np.abs(stored.data.astype(np.float64)), axis, 0).reshape(stored.shape[axis], -1)
    total = float((rows.sum(axis=1) * stored.quantization.scale).max())
    source = next(graph.tensors[i].name for i in operator.inputs if graph.tensors[i].data is None)
    step = max(float(np.abs(part).max(initial=0)) for part in values[source]) / 127
    return FLOAT_TOLERANCE + total * step / 2 / magnitude
