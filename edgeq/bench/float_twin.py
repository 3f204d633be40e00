"""The float network behind an int8 file: what the same network would cost without quantization."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from edgeq.tflite.model import Graph, Quantization, Tensor

__all__ = ["float_twin"]

_REQUANTIZING = frozenset({"QUANTIZE", "DEQUANTIZE"})


def float_twin(graph: Graph) -> Graph:
    """The same operations on float32 tensors: constants are the numbers that their codes stand for.

    QUANTIZE and DEQUANTIZE are left out. A clipping that an int8 grid does without an activation (a range that starts
    at zero in place of a ReLU) is not there in float: the twin costs what the float network costs, but is for timing,
    not for accuracy.
    """
    same: dict[int, int] = {}  # what a requantizing operation wrote is what it read
    operators = []
    for operator in graph.operators:
        inputs = tuple(same.get(index, index) for index in operator.inputs)
        if operator.kind in _REQUANTIZING:
            same[operator.outputs[0]] = inputs[0]
        else:
            operators.append(dataclasses.replace(operator, inputs=inputs))
    outputs = tuple(same.get(index, index) for index in graph.outputs)
    return _without_unused(
        Graph(
            tensors=tuple(_float_tensor(tensor) for tensor in graph.tensors),
            operators=tuple(operators),
            inputs=graph.inputs,
            outputs=outputs,
            input_names=graph.input_names,
            output_names=graph.output_names,
        )
    )


def _float_tensor(tensor: Tensor) -> Tensor:
    if tensor.quantization is None:
        return tensor
    data = None if tensor.data is None else _real(tensor.data, tensor.quantization)
    return Tensor(tensor.name, tensor.shape, "float32", None, data)


def _real(codes: NDArray[np.integer], grid: Quantization) -> NDArray[np.float32]:
    shape = [1] * codes.ndim
    if grid.is_per_channel:
        shape[grid.axis] = -1
    scale, zero = grid.scale.reshape(shape), grid.zero_point.reshape(shape)
    real: NDArray[np.float32] = ((codes.astype(np.int64) - zero) * scale.astype(np.float64)).astype(np.float32)
    return real


def _without_unused(graph: Graph) -> Graph:
    used = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs)}
    used |= {*graph.inputs, *graph.outputs}
    kept = sorted(used - {-1})
    places = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        graph,
        tensors=tuple(graph.tensors[index] for index in kept),
        operators=tuple(operator.renumbered(places) for operator in graph.operators),
        inputs=tuple(places[index] for index in graph.inputs),
        outputs=tuple(places[index] for index in graph.outputs),
    )
