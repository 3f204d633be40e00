"""The weighted sums of a .tflite file: each layer's codes, bias and the codes its input can have. No arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.export.layer_parts import layer_of
from edgeq.tflite.model import Graph, Operator, Quantization, Tensor

__all__ = ["KINDS", "WeightedSum", "activation_limits", "weighted_sums"]

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
WEIGHT_TYPES = ("int8", "int4", "int2")
INPUT_TYPES = ("int8", "int16")
SAME_CODES = {
    "AVERAGE_POOL_2D", "CONCATENATION", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "PAD", "RESHAPE", "SLICE", "SPLIT",
    "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE",
}  # fmt: skip
"""What these give lies between the smallest and the largest code that they read, or is the zero point."""
_ACTIVATIONS = schema.ActivationFunctionType


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSum:
    """What a layer adds up for each output: ``bias + sum of w (x - zero_point)``.

    Attributes:
        name: the layer's, as a recipe has it.
        operator: its index in the graph.
        kind: the builtin's name.
        codes: int16 [O, T, C]: weights by output channel, tap and input channel of its group.
        bias: int64 [O].
        low, high: the smallest and largest code that the input can have; the zero point lies between them.
        zero_point: of the input.
        window: rows and columns of the kernel; (1, 1) of a dense layer.
        groups: how many parts the channels are in; output o reads the input channels of part ``o * groups // O``.
        phases: which taps one output adds up: all, or of a transposed convolution those that meet its pixel.
    """

    name: str
    operator: int
    kind: str
    codes: NDArray[np.int16]
    bias: NDArray[np.int64]
    low: int
    high: int
    zero_point: int
    window: tuple[int, int]
    groups: int
    phases: tuple[NDArray[np.intp], ...]

    @property
    def products(self) -> int:
        """How many products a sum has, at most."""
        return max(taps.size for taps in self.phases) * int(self.codes.shape[2])


def weighted_sums(graph: Graph) -> list[WeightedSum]:
    """Every layer of integers of a file, in order.

    Raises:
        FormatError: there is none, or one whose shapes do not fit.
    """
    ranges = _code_ranges(graph)
    found = [_weighted_sum(graph, i, ranges) for i in _integer_layers(graph)]
    if not found:
        raise FormatError("the file has no layer with integer weights and inputs", wanted=", ".join(KINDS),
                          remedy="give an int8 file; float layers have no accumulator to prove")  # fmt: skip
    return found


def activation_limits(operator: Operator, grid: Quantization) -> tuple[int, int]:
    """The smallest and largest code that an operation with a fused activation gives."""
    low, high = (int(limit) for limit in grid.limits)
    kind: int = getattr(operator.options, "fusedActivationFunction", _ACTIVATIONS.NONE)
    zero, scale = int(grid.zero_point[0]), float(grid.scale[0])
    if kind in (_ACTIVATIONS.RELU, _ACTIVATIONS.RELU6):
        low = max(low, zero)
    if kind == _ACTIVATIONS.RELU6:
        high = min(high, zero + math.ceil(6 / scale))
    if kind == _ACTIVATIONS.RELU_N1_TO_1:
        low, high = max(low, zero - math.ceil(1 / scale)), min(high, zero + math.ceil(1 / scale))
    return low, high


def _integer_layers(graph: Graph) -> Iterator[int]:
    for i, operator in enumerate(graph.operators):
        if operator.kind not in KINDS or len(operator.inputs) < 2:
            continue
        weights, source = graph.tensors[operator.inputs[1]], graph.tensors[_input_of(operator)]
        tensors = (weights, source, graph.tensors[operator.outputs[0]])
        grids = all(tensor.quantization is not None for tensor in tensors)
        if grids and weights.data is not None and weights.dtype in WEIGHT_TYPES and source.dtype in INPUT_TYPES:
            yield i


def _input_of(operator: Operator) -> int:
    return operator.inputs[2 if operator.kind == "TRANSPOSE_CONV" and len(operator.inputs) > 2 else 0]


def _weighted_sum(graph: Graph, index: int, ranges: dict[int, tuple[int, int]]) -> WeightedSum:
    operator = graph.operators[index]
    weights, source = graph.tensors[operator.inputs[1]], graph.tensors[_input_of(operator)]
    name = layer_of(weights.name) if ".weight" in weights.name else graph.tensors[operator.outputs[0]].name
    assert weights.data is not None and weights.quantization is not None and source.quantization is not None
    wanted = 2 if operator.kind == "FULLY_CONNECTED" else 4
    channels = source.shape[-1] if source.shape else 0
    if weights.data.ndim != wanted or not weights.data.size or not channels or operator.options is None:
        raise FormatError("the shapes of a layer do not fit", where=name, got=[weights.shape, source.shape])
    if weights.quantization.zero_point.any():
        raise FormatError("the weights have a zero point, which TFLite's int8 weights have not", where=name,
                          got=int(np.abs(weights.quantization.zero_point).max()), wanted=0)  # fmt: skip
    codes, groups = _arranged(operator, weights, channels, name)
    place = 3 if operator.kind == "TRANSPOSE_CONV" else 2
    stored = operator.inputs[place] if len(operator.inputs) > place else -1
    bias = graph.tensors[stored].data if stored >= 0 else None
    if bias is not None and (bias.size != len(codes) or bias.dtype.kind != "i"):
        raise FormatError("the bias has no integer an output", where=name, got=bias.shape, wanted=(len(codes),))
    zero = int(source.quantization.zero_point[0])
    low, high = ranges.get(_input_of(operator), tuple(int(limit) for limit in source.quantization.limits))
    return WeightedSum(
        name=name,
        operator=index,
        kind=operator.kind,
        codes=codes,
        bias=np.zeros(len(codes), np.int64) if bias is None else bias.astype(np.int64).ravel(),
        low=min(low, zero),
        high=max(high, zero),
        zero_point=zero,
        window=(1, 1) if operator.kind == "FULLY_CONNECTED" else (weights.shape[1], weights.shape[2]),
        groups=groups,
        phases=_phases(operator, weights.shape),
    )


def _arranged(operator: Operator, weights: Tensor, channels: int, name: str) -> tuple[NDArray[np.int16], int]:
    """Codes [O, T, C], and the number of groups."""
    assert weights.data is not None
    data, groups = weights.data.astype(np.int16), 1
    if operator.kind == "FULLY_CONNECTED":
        return data[:, None, :], 1
    if operator.kind == "DEPTHWISE_CONV_2D":
        data, groups = data.transpose(3, 1, 2, 0), channels
    elif operator.kind == "CONV_2D":
        groups = channels // data.shape[3]
    outputs = data.shape[0]
    if groups < 1 or outputs % groups or data.shape[3] * groups != channels:
        raise FormatError("the shapes of a layer do not fit", where=name, got=[weights.shape, channels])
    return data.reshape(outputs, -1, data.shape[3]), groups


def _phases(operator: Operator, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    if operator.kind == "FULLY_CONNECTED":
        return (np.arange(1),)
    height, width = shape[1:3]
    taps = np.arange(height * width).reshape(height, width)
    if operator.kind != "TRANSPOSE_CONV":
        return (taps.ravel(),)
    down, across = max(operator.options.strideH, 1), max(operator.options.strideW, 1)
    return tuple(taps[y::down, x::across].ravel() for y in range(min(down, height)) for x in range(min(across, width)))


def _code_ranges(graph: Graph) -> dict[int, tuple[int, int]]:
    """By tensor, the codes that it can have where they are fewer than its type's."""
    ranges: dict[int, tuple[int, int]] = {}
    for operator in graph.operators:
        for index in operator.outputs:
            grid = graph.tensors[index].quantization
            if grid is None or grid.is_per_channel or graph.tensors[index].dtype not in INPUT_TYPES:
                continue
            low, high = activation_limits(operator, grid)
            read = [i for i in operator.inputs if i >= 0 and graph.tensors[i].quantization is not None]
            if operator.kind in SAME_CODES and all(grid.same_grid(graph.tensors[i].quantization) for i in read):
                known = [ranges.get(i, tuple(int(limit) for limit in grid.limits)) for i in read]
                low = max(low, min([int(grid.zero_point[0]), *(pair[0] for pair in known)]))
                high = min(high, max([int(grid.zero_point[0]), *(pair[1] for pair in known)]))
            ranges[index] = low, high
    return ranges
