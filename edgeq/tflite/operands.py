"""Operands that are broadcast against each other: activations in one layout, constants laid out to fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout, memory_blocks, refine
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.qdq_values import (
    float_source,
    is_constant,
    node_name,
    read_constant,
    read_operand,
    read_real_constant,
)

__all__ = ["broadcast_operands"]

MAX_BROADCAST_RANK = 4  # of TFLite's int8 kernels before LiteRT 2


def broadcast_operands(
    low: Lowering,
    node: ir.Node,
    slots: Sequence[int] = (0, 1),
    *,
    grid: Quantization | None = None,
    codes: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> tuple[list[int], Layout]:
    """The tensors of a node's operands, ready for a TFLite kernel that broadcasts as numpy does.

    Activations may have any ranks and layouts: the largest stays as it lies in memory, the others are brought to its
    order. A constant may be int8 or uint8 behind a DequantizeLinear (its integers are kept), or plain float (it gets
    the int8 grid over its own range; a scalar is exact); it may be a scalar or of any shape that broadcasts.

    Args:
        low, node: the graph and the node; one operand at least is an activation.
        slots: which of its inputs.
        grid: for the constants, where the kernel wants them on a certain one; a truth value has none.
        codes: what makes a constant's integers of its numbers, where that is not to round them to ``grid``.

    Returns:
        A tensor an operand, all of one rank, and the layout of the result: pass it to :meth:`Lowering.emit`.

    Raises:
        ExportError: an operand is not quantized, or a constant is not finite; names the node.
    """
    shape = low.shape(node.outputs[0])
    values = [node.inputs[slot] for slot in slots]
    shapes = [_shape(low, value, node) for value in values]
    held = [None if is_constant(float_source(value, node)) else low.view(value, node).layout.padded(len(shape))
            for value in values]  # fmt: skip
    result = _result_layout(shape, [layout for layout in held if layout is not None])
    full = [[size == 1 or given[axis] != 1 for axis, size in enumerate(shape)] for given in shapes]
    groups = _groups(result, full)
    if groups is not None:
        sizes = tuple(math.prod(result.factors[i] for i in group) for group in groups)
        result = Layout(sizes, result.factors, result.axes)
    tensors = []
    for value, layout, filled in zip(values, held, full, strict=True):
        wanted = _part(result, groups, filled)
        if layout is None:
            tensors.append(_constant(low, node, value, wanted, grid, codes or (grid.codes if grid else None)))
        else:
            rank = len(low.view(value, node).layout.axes)
            own = Layout(wanted.tensor_shape, wanted.factors, wanted.axes[len(wanted.axes) - rank :])
            tensors.append(low.activation(value, node, own))
    return tensors, result


def _shape(low: Lowering, value: ir.Value | None, node: ir.Node) -> tuple[int, ...]:
    """The operand's shape, of the result's rank."""
    source = float_source(value, node)
    rank = len(low.shape(node.outputs[0]))
    given = low.shape(source)
    return (1,) * (rank - len(given)) + given


def _result_layout(shape: tuple[int, ...], held: list[Layout]) -> Layout:
    """The layout of an operand that has the result's shape, one in canonical order if there is one, but for images the
    one of the fewest dimensions, as dense layers have it; else that order."""
    canonical = Layout.arranged(shape)
    whole = [layout for layout in held if layout.shape == shape]
    if not whole:
        return canonical
    straight = [layout for layout in whole if layout.axis_order() == canonical.axis_order()]
    chosen = min(straight or whole, key=lambda layout: len(shape) != 4 and len(layout.tensor_shape))
    # Every operand's axes must be made of the chosen one's factors, or be brought to them.
    return chosen if all(refine(chosen, layout) for layout in whole) else canonical


def _groups(result: Layout, full: list[list[bool]]) -> list[tuple[int, ...]] | None:
    """The result's dimensions as runs of factors, so that no operand is broadcast along a part of a dimension; None
    where none is broadcast but scalars, and the tensor can stay as it is."""
    axis_of = {factor: axis for axis, factors in enumerate(result.axes) for factor in factors}
    signature = [tuple(filled[axis_of[i]] for filled in full) for i in range(len(result.factors))]
    if len(set(signature)) < 2:
        return None
    natural = memory_blocks(range(len(result.factors)), result.factors, result.tensor_shape)
    fits = natural is not None and all(len({signature[i] for i in group}) < 2 for group in natural)
    if natural is not None and fits and len(natural) <= MAX_BROADCAST_RANK:
        return [tuple(group) for group in natural]
    runs = itertools.groupby(range(len(result.factors)), key=lambda i: signature[i])
    return [tuple(run) for _, run in runs]


def _part(result: Layout, groups: list[tuple[int, ...]] | None, filled: list[bool]) -> Layout:
    """The layout of an operand that has only some of the result's axes."""
    if groups is None and all(filled):
        return result
    kept = [i for axis, has in zip(result.axes, filled, strict=True) if has for i in axis]
    place = {factor: i for i, factor in enumerate(sorted(kept))}
    shape = (1,) * len(result.tensor_shape)
    if groups is not None:
        shape = tuple(math.prod(result.factors[i] for i in group if i in place) for group in groups)
    axes = tuple(tuple(place[i] for i in axis if i in place) for axis in result.axes)
    return Layout(shape, tuple(result.factors[i] for i in place), axes)


def _constant(
    low: Lowering,
    node: ir.Node,
    value: ir.Value | None,
    wanted: Layout,
    grid: Quantization | None,
    codes: Callable[[NDArray[Any]], NDArray[Any]] | None,
) -> int:
    if value is None:
        raise ExportError("an operand is missing", where=node_name(node))
    source = float_source(value, node)
    if source.dtype == ir.DataType.BOOL:
        return low.add_constant(str(source.name), wanted.to_tflite(read_constant(source, node)))
    if codes is not None:
        integers = codes(read_real_constant(value, node))
        return low.add_constant(
            str(source.name), wanted.to_tflite(integers), grid if integers.dtype == np.int8 else None
        )
    constant = read_operand(value, node, low.dtype)
    return low.add_constant(constant.name, wanted.to_tflite(constant.codes), constant.grid)
