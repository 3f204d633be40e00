"""What is a layer of the ONNX graph, its name, and where it has its outputs, its steps and its bias."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = [
    "CODES_SUFFIX",
    "LAYERS",
    "along_outputs",
    "bias_place",
    "has_weights",
    "layer_name",
    "layer_of",
    "output_axis",
    "parameter_of",
    "step_repeats",
]

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}

CODES_SUFFIX = "_quantized"
"""Behind an initializer's name: that of its integers in a QDQ model."""


def output_axis(node: ir.Node) -> int:
    """The axis of a layer's weight along which its outputs are, and so its steps.

    A MatMul's and a Gemm's without transB are [I, O]; a transposed convolution's is [I, O / groups, ...], which makes
    its first axis the outputs' where each channel is a group.
    """
    if node.op_type == "ConvTranspose":
        return 0 if _is_depthwise(node) else 1
    return 0 if node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1 else 1


def step_repeats(node: ir.Node) -> int:
    """How often a layer's steps are repeated to make one an output channel: the groups of a transposed convolution."""
    return node.attributes.get_int("group", 1) if node.op_type == "ConvTranspose" and output_axis(node) else 1


def _is_depthwise(node: ir.Node) -> bool:
    """Whether each input channel of a transposed convolution is a group with one output."""
    shape = (node.inputs[1].shape if node.inputs[1] is not None else None) or (0, 0)
    return shape[1] == 1 and shape[0] == node.attributes.get_int("group", 1)


def along_outputs(values: NDArray[Any], ndim: int, axis: int) -> NDArray[Any]:
    """A value or one an output channel, shaped to multiply a weight of ``ndim`` dimensions."""
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def bias_place(node: ir.Node) -> tuple[ir.Node, int] | None:
    """Where a layer's bias is: its third input, or for a MatMul the constant [O] of the Add that alone reads it."""
    if node.op_type != "MatMul":
        return (node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    product, stored = node.outputs[0], node.inputs[1]
    uses = list(product.uses())
    if len(uses) != 1 or product.is_graph_output() or uses[0][0].op_type != "Add":
        return None
    add, slot = uses[0]
    bias, weight = _stored(add.inputs[1 - slot]), _stored(stored)
    fits = bias is not None and weight is not None and bias.shape == weight.shape[1:] and weight.ndim == 2
    return (add, 1 - slot) if fits else None


def _stored(value: ir.Value | None) -> NDArray[Any] | None:
    return None if value is None or value.const_value is None else np.asarray(value.const_value.numpy())


def has_weights(node: ir.Node) -> bool:
    """Whether a node is a layer: a batch of constant matrices is an operand like any other."""
    if node.op_type not in LAYERS:
        return False
    stored = node.inputs[1].const_value if node.inputs[1] is not None else None
    return stored is not None and (node.op_type != "MatMul" or len(stored.shape) == 2)


def layer_name(node: ir.Node) -> str:
    """What a recipe calls a node: a layer by its weight's name without ``.weight``, any other by its own name."""
    stored = node.inputs[1] if node.op_type in LAYERS and len(node.inputs) > 1 else None
    if stored is not None and stored.const_value is not None and ".weight" in str(stored.name):
        return layer_of(parameter_of(stored))
    return str(node.name or node.outputs[0].name)


def layer_of(name: str) -> str:
    """The layer that an initializer is the weight of: its name without ``.weight`` and the number of a copy."""
    return re.sub(r"\.weight(_\d+)?$", "", name)


def parameter_of(stored: ir.Value) -> str:
    """The parameter that a copied initializer was made from."""
    return stored.metadata_props.get("edgeq.origin", str(stored.name))
