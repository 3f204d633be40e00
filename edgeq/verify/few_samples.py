"""The operations of a file on as many samples as take seconds, which is what an export or a conversion is proved by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.tflite.convert import Conversion
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_graph
from edgeq.verify.check import check_layers
from edgeq.verify.layers import compare_layers
from edgeq.verify.report import LayerParity

__all__ = ["FEW_SAMPLES", "Samples", "compare_few", "file_input", "file_inputs"]

FEW_SAMPLES = 4
MOST_VALUES = 1 << 24  # activations compared; a large network has as many in one sample as a small one in four

Samples = Mapping[str, NDArray[np.float32]]


def compare_few(
    content: bytes, qdq: ir.Model, conversion: Conversion, samples: Samples
) -> tuple[list[LayerParity], int]:
    """Compare the layers on a few samples.

    Returns:
        A row an operation, and how many samples it is of.

    Raises:
        VerifyError: two runtimes differ by more than one code; names the layer.
    """
    graph = read_graph(content)
    values = sum(math.prod(tensor.shape) for tensor in graph.tensors if tensor.data is None)
    count = min(FEW_SAMPLES, max(1, MOST_VALUES // max(values, 1)), len(next(iter(samples.values()))))
    inputs = file_inputs(graph, {name: array[:count] for name, array in samples.items()})
    layers = compare_layers(content, graph, qdq, conversion.layouts, inputs)
    check_layers(layers)
    return layers, count


def file_inputs(graph: Graph, samples: Samples) -> list[NDArray[Any]]:
    """Samples in the order of a file's inputs, as it takes them."""
    return [file_input(array, graph.tensors[i]) for i, array in zip(graph.inputs, samples.values(), strict=True)]


def file_input(values: NDArray[np.float32], tensor: Any) -> NDArray[Any]:
    """Real values [N, ...] in ONNX order as a file's input tensor takes them: NHWC, on its grid."""
    if values.ndim == 4:
        values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
    if tensor.quantization is None:
        return values
    limits = np.iinfo(tensor.dtype)
    codes = np.rint(values / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
    clipped: NDArray[Any] = np.clip(codes, limits.min, limits.max).astype(tensor.dtype)
    return clipped
