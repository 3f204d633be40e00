"""The inputs that meet each weight: a layer's input less its zero point as a matrix, and exact integer sums over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.accumulate.bounds import sum_bound
from edgeq.accumulate.sums import WeightedSum
from edgeq.tflite.model import Operator

__all__ = ["layer_columns", "products", "weight_columns", "whole_sums"]

Matrix = NDArray[np.signedinteger[Any]]


def layer_columns(
    item: WeightedSum, operator: Operator, codes: NDArray[np.integer], out_shape: tuple[int, ...]
) -> Matrix:
    """The input less its zero point as each output meets it: int32 [G, P, T * C / G], P outputs of a channel.

    Args:
        item: the layer.
        operator: the same in the graph.
        codes: its input as LiteRT has it, [1, H, W, C]; of a dense layer any shape.
        out_shape: of its output.
    """
    values = codes.astype(np.int32) - item.zero_point
    if item.kind == "FULLY_CONNECTED":
        return values.reshape(1, -1, item.codes.shape[2])
    taps = _windows(item, operator, values[0], out_shape[1:3])  # [P, T, C]
    pixels, count, channels = taps.shape
    parts = taps.reshape(pixels, count, item.groups, channels // item.groups).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(parts).reshape(item.groups, pixels, -1)


def weight_columns(item: WeightedSum) -> Matrix:
    """The weights as :func:`layer_columns` has their inputs: [G, T * C / G, O / G], of a type that holds every sum."""
    rows = item.codes.reshape(item.groups, len(item.codes) // item.groups, -1)
    kind = np.int32 if sum_bound(item).bits <= 32 else np.int64
    return np.ascontiguousarray(rows.transpose(0, 2, 1)).astype(kind)


def whole_sums(item: WeightedSum, columns: Matrix) -> Matrix:
    """Every output before it is requantized, bias included: int64 [P, O]. Float64 has such integers exactly."""
    found = np.matmul(columns.astype(np.float64), weight_columns(item).astype(np.float64))
    return _by_channel(found.astype(np.int64)) + item.bias


def products(item: WeightedSum, columns: Matrix) -> Iterator[Matrix]:
    """What is added to each output in turn, by tap and channel as the file has them: [P, O] each."""
    weights = weight_columns(item)
    for k in range(columns.shape[2]):
        yield _by_channel(columns[:, :, k, None] * weights[:, k, None, :])


def _by_channel(parts: Matrix) -> Matrix:
    """[G, P, O / G] as [P, O]."""
    return np.ascontiguousarray(parts.transpose(1, 0, 2)).reshape(parts.shape[1], -1)


def _windows(item: WeightedSum, operator: Operator, image: Matrix, size: tuple[int, ...]) -> Matrix:
    """[P, T, C]: what lies under each tap; zeros, which the zero point stands for, where there is no input."""
    options = operator.options
    height, width = item.window
    strides = (options.strideH, options.strideW)
    dilation = (getattr(options, "dilationHFactor", 1) or 1, getattr(options, "dilationWFactor", 1) or 1)
    reach = ((height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1)
    same = options.padding == schema.Padding.SAME
    if item.kind == "TRANSPOSE_CONV":
        spread = np.zeros(
            [(n - 1) * s + 1 for n, s in zip(image.shape[:2], strides, strict=True)] + [image.shape[2]], np.int32
        )
        spread[:: strides[0], :: strides[1]] = image
        before = [
            k - 1 - (max((n - 1) * s + k - out, 0) // 2 if same else 0)
            for n, s, k, out in zip(image.shape[:2], strides, reach, size, strict=True)
        ]
        image, strides = spread, (1, 1)
    else:
        before = [
            max((out - 1) * s + r - n, 0) // 2 if same else 0
            for n, s, r, out in zip(image.shape[:2], strides, reach, size, strict=True)
        ]
    after = [
        max((out - 1) * s + r - n - b, 0)
        for n, s, r, out, b in zip(image.shape[:2], strides, reach, size, before, strict=True)
    ]
    padded = np.pad(image, [*zip(before, after, strict=True), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))  # [H, W, C, KH, KW]
    chosen = windows[:: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]][: size[0], : size[1]]
    if item.kind == "TRANSPOSE_CONV":
        chosen = chosen[..., ::-1, ::-1]
    return np.ascontiguousarray(chosen.transpose(0, 1, 3, 4, 2)).reshape(size[0] * size[1], height * width, -1)
