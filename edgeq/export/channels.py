"""Channels whose weights are zero or almost zero: a step for them that every runtime can work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.export.activations import ActivationGrid
from edgeq.export.layer_parts import along_outputs, bias_place, output_axis, step_repeats
from edgeq.grid import QuantizedWeight

__all__ = ["INT32_MAX", "layer_result", "settle_channels"]

INT32_MAX = 2**31 - 1
LEVELS = {"int8": 255, "int16": 0}  # an int16 kernel adds up in 64 bits


def settle_channels(
    model: ir.Model, weights: dict[str, QuantizedWeight], grids: Mapping[str, ActivationGrid]
) -> list[str]:
    """Give channels that a batch norm silenced a step that suits their layer, and silence those that it almost did.

    The int32 bias counts in input scale x step. A batch norm can shrink a step until the bias does not fit beside it:
    if all of the channel's weights together cannot move the output by half a code they are zeroed, as for gamma = 0.
    At the step 1 of a zeroed channel the bias may in turn be coarser than the output (and XNNPACK refuses a layer with
    input scale x step of 256 output scales or more): a power of two below 1 takes its place then.

    Args:
        model: the folded float model; its initializers are changed with ``weights``.
        weights: by initializer name; changed entries are replaced.
        grids: of the activations.

    Returns:
        A line for each channel that was zeroed.

    Raises:
        ExportError: the weights of such a channel matter; names layer and channel.
    """
    lines: list[str] = []
    for node in model.graph:
        source, stored = (*node.inputs, None, None)[:2]
        place = bias_place(node)
        bias = None if place is None else place[0].inputs[place[1]]
        if source is None or stored is None or str(stored.name) not in weights:
            continue
        name = str(stored.name)
        values = np.zeros(1) if bias is None or bias.const_value is None else bias.const_value.numpy()
        if (repeats := step_repeats(node)) > 1 and values.size > 1:
            values = np.abs(values).reshape(repeats, -1).max(axis=0)
        ends = grids[str(source.name)], grids[str(layer_result(node).name)]
        axis = output_axis(node)
        settled = _settled(name, weights[name], axis, values.astype(np.float64), *ends, lines)
        if settled is not weights[name]:
            weights[name] = settled
            step = along_outputs(settled.step, settled.codes.ndim, axis)
            stored.const_value = ir.tensor((settled.codes * step).astype(np.float32), name=name)
    return lines


def _settled(
    name: str,
    weight: QuantizedWeight,
    axis: int,
    bias: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    source: ActivationGrid,
    result: ActivationGrid,
    lines: list[str],
) -> QuantizedWeight:
    codes = weight.codes.copy()
    rows = np.moveaxis(codes, axis, 0)  # a view
    size = np.abs(rows.astype(np.int64)).sum(axis=tuple(range(1, rows.ndim)))
    step = np.broadcast_to(weight.step, size.shape).astype(np.float64)
    room = INT32_MAX - LEVELS[source.dtype] * size  # what the sum of the products leaves of the accumulator
    over = (np.abs(bias) > room * source.scale * step) & (size > 0)
    reach = max(abs(source.low), abs(source.high))
    layer = name.removesuffix(".weight")
    for channel in np.flatnonzero(over):
        if size[channel] * step[channel] * reach > result.scale / 2:
            raise ExportError(
                f"the bias of channel {channel} does not fit int32 at this layer's scale",
                where=f"layer {layer}",
                got=f"{np.broadcast_to(bias, size.shape)[channel]:.3g} at a step of {source.scale * step[channel]:.3g}",
                remedy="prune the channel, or put weight decay on gamma: its weights are almost zero",
            )
        rows[channel] = 0
        lines.append(f"layer {layer}, channel {channel}: weights too small to move the output were set to 0")
    fitting = min(1.0, 2.0 ** np.floor(np.log2(result.scale / source.scale)))
    settle = over | ((size == 0) & (step == 1) & (fitting < 1))
    if not settle.any():
        return weight
    step[settle] = fitting
    return replace(weight, codes=codes, step=step.astype(np.float32))


def layer_result(node: ir.Node) -> ir.Value:
    """The value whose grid a layer's result is rounded to: its own with its bias, or that of the Relu that alone reads
    it."""
    last, _ = bias_place(node) or (node, 0)
    uses = list(last.outputs[0].uses())
    if len(uses) == 1 and uses[0][0].op_type in ("Relu", "Clip"):
        return uses[0][0].outputs[0]
    return last.outputs[0]
