"""Operations without an int8 kernel as compositions of those that have one, before calibration: each intermediate value
gets a grid of its own.

LayerNormalization becomes mean, difference, square, variance + epsilon (a product with the constant 1/C, whose int32
bias holds epsilon), 1/sqrt, product, and a depthwise 1x1 convolution for gamma and beta: codes +-127, gamma in the
steps and beta in int32, so that neither is rounded to eight bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError

__all__ = ["DECOMPOSED", "decompose"]

DECOMPOSED = {"LayerNormalization": "MEAN, SUB, MUL, FULLY_CONNECTED, CAST, GATHER, MUL, DEPTHWISE_CONV_2D"}
"""The ONNX operations that are decomposed, and what they become in TFLite."""

AXES_ARE_AN_INPUT = 18  # the opset since which ReduceMean has its axes as an input


def decompose(model: ir.Model) -> None:
    """Replace operations by compositions; in place.

    Raises:
        ExportError: a parameter is computed or a shape unknown; names the node.
    """
    for node in list(model.graph):
        if node.op_type == "LayerNormalization" and node.domain in ("", "ai.onnx"):
            _layer_normalization(model, node)


def _layer_normalization(model: ir.Model, node: ir.Node) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axes.

    Source: Ba et al. 2016, arXiv:1607.06450.
    """
    source, result = node.inputs[0], node.outputs[0]
    shape = None if source is None or source.shape is None else list(source.shape)
    if source is None or shape is None or not all(isinstance(size, int) for size in shape):
        raise ExportError("has an input whose shape is not fixed", where=f"node {node.name}", got=shape)
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        raise ExportError("its mean and deviation are read by others", where=f"node {node.name}")
    sizes = [int(str(size)) for size in shape]
    axis = node.attributes.get_int("axis", -1) % len(sizes)
    channels = math.prod(sizes[axis:])
    gamma, beta = (
        np.broadcast_to(_constant(node, slot, float(slot == 1)), tuple(sizes[axis:])).reshape(channels)
        for slot in (1, 2)
    )
    stem = str(node.inputs[1].name if node.inputs[1] is not None else result.name).removesuffix(".weight")
    build = _Builder(model, node, str(result.name))
    rows = [*sizes[:axis], channels]
    flat = source if axis == len(sizes) - 1 else build.reshape(source, rows)
    mean = build.mean(flat, rows)
    centred = build.add("Sub", [flat, mean], rows)
    squares = build.add("Mul", [centred, centred], rows)
    ones = build.constant(f"{stem}.variance.weight", np.full((channels, 1), 1 / channels, np.float32))
    epsilon = build.constant(
        f"{stem}.variance.bias", np.full(1, node.attributes.get_float("epsilon", 1e-5), np.float32)
    )
    variance = build.add("MatMul", [squares, ones], [*rows[:-1], 1])
    variance = build.add("Add", [variance, epsilon], [*rows[:-1], 1])
    deviation = build.add("Sqrt", [variance], [*rows[:-1], 1])
    inverse = build.add("Reciprocal", [deviation], [*rows[:-1], 1])
    scaled = build.add("Mul", [centred, inverse], rows)
    image = [1, math.prod(rows[:-1]), 1, channels]
    image_first = [1, channels, image[1], 1]
    pixels = build.add("Transpose", [build.reshape(scaled, image)], image_first, {"perm": [0, 3, 1, 2]})
    parameters = [
        build.constant(f"{stem}.weight", gamma.reshape(channels, 1, 1, 1), replaced=node.inputs[1]),
        build.constant(f"{stem}.bias", beta, replaced=node.inputs[2] if len(node.inputs) > 2 else None),
    ]
    conv = build.add("Conv", [pixels, *parameters], image_first, {"group": channels, "kernel_shape": [1, 1]})
    back = build.add("Transpose", [conv], image, {"perm": [0, 2, 3, 1]})
    build.finish(build.reshape(back, sizes))


def _constant(node: ir.Node, slot: int, default: float) -> NDArray[np.float32]:
    value = node.inputs[slot] if len(node.inputs) > slot else None
    if value is None:
        return np.full(1, default, np.float32)
    if value.const_value is None:
        raise ExportError("a parameter is computed, not stored", where=f"node {node.name}", got=value.name)
    return np.asarray(value.const_value.numpy(), np.float32)


class _Builder:
    """Nodes that take the place of another, named after its result."""

    def __init__(self, model: ir.Model, node: ir.Node, name: str) -> None:
        assert node.graph is not None
        self.graph, self.node, self.name = node.graph, node, name
        self.counts: dict[str, int] = {}
        self.axes_are_an_input = model.graph.opset_imports.get("", 0) >= AXES_ARE_AN_INPUT

    def add(
        self, kind: str, inputs: list[ir.Value], shape: list[int], attributes: dict[str, Any] | None = None
    ) -> ir.Value:
        count = self.counts[kind] = self.counts.get(kind, -1) + 1
        name = f"{self.name}.{kind.lower()}{f'_{count}' if count else ''}"
        node = ir.node(kind, inputs, attributes or {}, name=name)
        output = node.outputs[0]
        output.name, output.shape, output.type = node.name, ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
        self.graph.insert_before(self.node, node)
        return output

    def reshape(self, value: ir.Value, shape: list[int]) -> ir.Value:
        target = self.constant(f"{self.name}.shape", np.array(shape, np.int64))
        return self.add("Reshape", [value, target], shape)

    def mean(self, value: ir.Value, rows: list[int]) -> ir.Value:
        shape = [*rows[:-1], 1]
        if self.axes_are_an_input:
            return self.add("ReduceMean", [value, self.constant(f"{self.name}.axes", np.array([-1], np.int64))], shape)
        return self.add("ReduceMean", [value], shape, {"axes": [-1]})

    def constant(self, name: str, data: NDArray[Any], *, replaced: ir.Value | None = None) -> ir.Value:
        """An initializer; it gets the name of the parameter that it replaces, if nothing else reads that."""
        if replaced is not None and len(replaced.uses()) == 1 and str(replaced.name) in self.graph.initializers:
            name = str(replaced.name)
            slot = next(slot for _, slot in replaced.uses())
            self.node.replace_input_with(slot, None)
            del self.graph.initializers[name]
        unique, number = name, 1
        while unique in self.graph.initializers:
            unique, number = f"{name}_{number}", number + 1
        tensor = ir.tensor(np.ascontiguousarray(data), name=unique)
        value = ir.Value(name=unique, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def finish(self, value: ir.Value) -> None:
        """Let the last value take the place of the old node's result, with its name."""
        old = self.node.outputs[0]
        name = old.name
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        self.graph.remove(self.node, safe=True)
        value.name = name
