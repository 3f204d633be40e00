"""Activation functions that stand alone: Relu, Clip, LeakyRelu, Sigmoid, Tanh, Softmax, HardSwish."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import Quantization
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import node_name

__all__ = ["ACTIVATION", "SCORE_GRID"]

SCORE_GRID = (1 / 256, -128)  # TFLite's quantization specification: softmax and logistic
TANH_GRID = (1 / 128, 0)
CLIPS = {  # bounds: operation and version
    (0.0, 6.0): ("RELU6", 2),
    (0.0, math.inf): ("RELU", 2),
    (-1.0, 1.0): ("RELU_N1_TO_1", 1),
    (0.0, 1.0): ("RELU_0_TO_1", 1),
}


def _unary(
    low: Lowering,
    node: ir.Node,
    kind: str,
    options: Any = None,
    *,
    version: int = 2,
    forced: tuple[float, int] | None = None,
) -> None:
    """Each value for itself: in whatever layout it is."""
    view = low.view(node.inputs[0], node)
    grid = None if forced is None else Quantization.per_tensor(*forced)
    low.emit(node, kind, [view.tensor], options, layout=view.layout, version=version, forced=grid)


def relu(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "RELU")


def clip(low: Lowering, node: ir.Node) -> None:
    """The bounds that TFLite has an operation for."""
    bounds = low.clip_bounds(node)
    if bounds not in CLIPS:
        raise ExportError(
            "a Clip with these bounds is not lowered", where=node_name(node), got=bounds, wanted=list(CLIPS)
        )
    kind, version = CLIPS[bounds]
    _unary(low, node, kind, version=version)


def leaky_relu(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "LEAKY_RELU", schema.LeakyReluOptionsT(alpha=node.attributes.get_float("alpha", 0.01)))


def sigmoid(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "LOGISTIC", forced=SCORE_GRID)


def tanh(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "TANH", forced=TANH_GRID)


def hard_swish(low: Lowering, node: ir.Node) -> None:
    _unary(low, node, "HARD_SWISH", version=1)


def softmax(low: Lowering, node: ir.Node) -> None:
    """Over any axis, which is brought last; of an image's channels that is where it is."""
    rank = len(low.shape(node.outputs[0]))
    order = low.axis_order(node.inputs[0], node, last=node.attributes.get_int("axis", -1) % rank)
    source = low.activation(node.inputs[0], node, order)
    layout = Layout.arranged(low.shape(node.outputs[0]), order)
    options, grid = schema.SoftmaxOptionsT(beta=1.0), Quantization.per_tensor(*SCORE_GRID)
    low.emit(node, "SOFTMAX", [source], options, layout=layout, version=2, forced=grid)


ACTIVATION = (
    Operation("Relu", "fused, or RELU", relu),
    Operation("Clip", "fused, or RELU6, RELU, RELU_N1_TO_1, RELU_0_TO_1", clip),
    Operation("LeakyRelu", "LEAKY_RELU", leaky_relu),
    Operation("Sigmoid", "LOGISTIC", sigmoid, fixed_grid=SCORE_GRID),
    Operation("Tanh", "TANH", tanh, fixed_grid=TANH_GRID),
    Operation("HardSwish", "HARD_SWISH", hard_swish),
    Operation("Softmax", "SOFTMAX", softmax, fixed_grid=SCORE_GRID),
)
