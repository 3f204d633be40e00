"""Bias correction: the mean error of each layer's output over samples is taken off its bias, layer by layer in order.

The QDQ model runs piece by piece, from the inputs of one layer to those of the next, so that a layer is measured with
the corrected layers before it; what later layers need is kept, of all samples at once.

Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix D (empirical).
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.calibrate.channels import Samples, channel_means, channels_first, one_by_one
from edgeq.export.channels import INT32_MAX
from edgeq.export.layer_parts import LAYERS, has_weights, parameter_of
from edgeq.onnx_session import open_session

__all__ = ["BiasedLayer", "biased_layers", "correct_biases", "float_parameters", "with_floats"]

KEPT_BYTES = 256 << 20  # activations held at a time; fewer samples where they take more
INPUT_SUFFIX = "_QuantizeLinear_Input"


def float_parameters(model: ir.Model, trained: Container[str]) -> dict[str, ir.TensorProtocol]:
    """The weights of a float model before they are rounded, by initializer name; not the trained ones."""
    kept: dict[str, ir.TensorProtocol] = {}
    for node in model.graph:
        stored = node.inputs[1] if has_weights(node) else None
        if stored is None or stored.const_value is None or parameter_of(stored) in trained:
            continue
        kept[str(stored.name)] = stored.const_value
    return kept


def with_floats(model: ir.Model, floats: Mapping[str, ir.TensorProtocol]) -> ir.Model:
    """A copy of the rounded float model with its weights as they were."""
    copy = model.clone()
    for name, tensor in floats.items():
        copy.graph.initializers[name].const_value = tensor
    return copy


@dataclass(frozen=True, slots=True)
class BiasedLayer:
    """A layer of a QDQ model whose bias is int32.

    Attributes:
        source: the codes that it reads.
        result: what it computes, its bias added, in float.
        codes, scale: of the bias.
        axis: of the result's channels.
    """

    source: ir.Value
    result: ir.Value
    codes: ir.Value
    scale: NDArray[np.float64]
    axis: int

    @property
    def name(self) -> str:
        """Of the result in the float model."""
        return str(self.result.name).removesuffix(INPUT_SUFFIX)


def correct_biases(qdq: ir.Model, reference: ir.Model, samples: Samples) -> None:
    """Give each layer of a QDQ model the mean output that it has in float, a channel at a time.

    Args:
        qdq: its int32 biases are changed in place; nothing else is.
        reference: the float model it was made from, with the same names.
        samples: the calibration set; the first ones, if the activations of all would take more than 256 MB.
    """
    layers = biased_layers(qdq)
    borders = _borders(layers, [str(value.name) for value in qdq.graph.inputs])
    used = {name: array[: _count(layers, borders)] for name, array in samples.items()}
    wanted = channel_means(reference, used, {layer.name: layer.axis for layer in layers})
    last = _last_reads(borders)
    feeds: list[dict[str, Any]] = [dict(feed) for feed in one_by_one(used)]
    for i, layer in enumerate(layers):
        _run(qdq, borders[i], (layer.source, layer.result), feeds)
        name = str(layer.result.name)
        means = [channels_first(feed[name], layer.axis).mean(axis=1, dtype=np.float64) for feed in feeds]
        moved = _correct(layer, wanted[layer.name] - np.mean(means, axis=0))
        for feed in feeds:
            feed[name] = feed[name] + _shaped(moved, feed[name].ndim, layer.axis)
            for key in [key for key in feed if last.get(key, i) <= i]:
                del feed[key]


def _correct(layer: BiasedLayer, shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """Move a bias by whole codes, and say by how much that is."""
    assert layer.codes.const_value is not None
    stored = layer.codes.const_value.numpy()
    codes = stored.astype(np.float64)
    corrected = np.clip(np.rint(codes + shift / layer.scale), -INT32_MAX, INT32_MAX)
    layer.codes.const_value = ir.tensor(corrected.astype(stored.dtype), name=layer.codes.name)
    moved: NDArray[np.float32] = ((corrected - codes) * layer.scale).astype(np.float32)
    return moved


def _shaped(values: NDArray[np.float32], ndim: int, axis: int) -> NDArray[np.float32]:
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def biased_layers(qdq: ir.Model) -> list[BiasedLayer]:
    """The layers of a QDQ model whose bias is integer, in order."""
    found = []
    for node in qdq.graph:
        if node.op_type not in LAYERS or (place := _bias(node)) is None:
            continue
        holder, slot = place
        dequantize, source = holder.inputs[slot], node.inputs[0]
        origin = None if dequantize is None else dequantize.producer()
        before = None if source is None else source.producer()
        if origin is None or before is None or origin.op_type != "DequantizeLinear" or source is None:
            continue
        codes, scale = origin.inputs[0], origin.inputs[1]
        reads = before.inputs[0] if before.op_type == "DequantizeLinear" else source
        if codes is None or scale is None or scale.const_value is None or codes.const_value is None or reads is None:
            continue
        values = np.atleast_1d(scale.const_value.numpy()).astype(np.float64)
        found.append(BiasedLayer(reads, holder.outputs[0], codes, values, -1 if node.op_type == "MatMul" else 1))
    return found


def _bias(node: ir.Node) -> tuple[ir.Node, int] | None:
    """Where the bias is read: as :func:`edgeq.export.layer_parts.bias_place`, through the DequantizeLinear."""
    if node.op_type != "MatMul":
        return (node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    uses = list(node.outputs[0].uses())
    if len(uses) != 1 or uses[0][0].op_type != "Add":
        return None
    add, slot = uses[0]
    other = add.inputs[1 - slot]
    origin = None if other is None else other.producer()
    stored = None if origin is None or origin.op_type != "DequantizeLinear" else origin.inputs[0]
    constant = None if stored is None else stored.const_value
    return (add, 1 - slot) if constant is not None and constant.dtype == ir.DataType.INT32 else None


def _borders(layers: Sequence[BiasedLayer], inputs: Sequence[str]) -> list[dict[str, ir.Value]]:
    """Before each layer, the values known by then that it is computed from."""
    known, borders = set(inputs), []
    for layer in layers:
        border: dict[str, ir.Value] = {}
        stack, seen = [layer.result], {str(layer.result.name)}
        while stack:
            value = stack.pop()
            if str(value.name) in known:
                border[str(value.name)] = value
                continue
            producer = value.producer()
            for read in () if producer is None else producer.inputs:
                if read is not None and read.const_value is None and str(read.name) not in seen:
                    seen.add(str(read.name))
                    stack.append(read)
        borders.append(border)
        known |= {str(layer.source.name), str(layer.result.name)}
    return borders


def _last_reads(borders: Sequence[Mapping[str, ir.Value]]) -> dict[str, int]:
    """By value name, the last border that it is in."""
    return {name: i for i, border in enumerate(borders) for name in border}


def _count(layers: Sequence[BiasedLayer], borders: Sequence[Mapping[str, ir.Value]]) -> int:
    """How many samples' activations fit the memory set aside for them."""
    last, held, most = _last_reads(borders), 0, 1
    ends: dict[int, int] = {}
    known: set[str] = set()
    for i, layer in enumerate(layers):
        for value in (layer.source, layer.result):
            name = str(value.name)
            if name not in known:
                known.add(name)
                held += _bytes(value)
                ends[max(last.get(name, i), i)] = ends.get(max(last.get(name, i), i), 0) + _bytes(value)
        most = max(most, held)
        held -= ends.pop(i, 0)
    return max(1, KEPT_BYTES // most)


def _bytes(value: ir.Value) -> int:
    sizes = [size for size in value.shape or () if isinstance(size, int)]
    return math.prod(sizes) * (1 if value.dtype in (ir.DataType.INT8, ir.DataType.UINT8) else 4)


def _run(
    qdq: ir.Model, border: Mapping[str, ir.Value], wanted: Sequence[ir.Value], feeds: list[dict[str, Any]]
) -> None:
    """Compute values from a border, for each sample, and put them to what is known of it."""
    names = [str(value.name) for value in wanted if str(value.name) not in feeds[0]]
    graph = ir.convenience.extract(qdq.graph, list(border), names)
    session = open_session(ir.Model(graph, ir_version=qdq.ir_version))
    for feed in feeds:
        feed.update(zip(names, session.run(names, {name: feed[name] for name in border}), strict=True))
