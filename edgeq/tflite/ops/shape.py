"""Operations that change only a value's shape and the order of its axes: nothing is computed, and nothing is moved
until an operation asks for another order."""

from __future__ import annotations

import onnx_ir as ir

from edgeq.tflite.layout import Layout
from edgeq.tflite.lower import Lowering, View
from edgeq.tflite.ops.operation import Operation

__all__ = ["SHAPE"]


def reshape(low: Lowering, node: ir.Node) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: the shapes that ONNX inferred say all there is to know."""
    view = low.view(node.inputs[0], node)
    after = low.shape(node.outputs[0])
    layout = view.layout.reshaped(after)
    if layout is None:  # the new axes are taken from several old ones, which must lie as ONNX has them
        plain = Layout.arranged(view.layout.shape, range(len(view.layout.axes)))
        view = View(low.activation(node.inputs[0], node, plain), plain)
        layout = plain.reshaped(after)
        assert layout is not None, "memory in the value's own order can take any shape"
    low.pass_on(node, View(view.tensor, layout))


def transpose(low: Lowering, node: ir.Node) -> None:
    view = low.view(node.inputs[0], node)
    reverse = tuple(reversed(range(len(view.layout.axes))))
    low.pass_on(node, View(view.tensor, view.layout.transposed(node.attributes.get_ints("perm", reverse))))


def identity(low: Lowering, node: ir.Node) -> None:
    low.pass_on(node, low.view(node.inputs[0], node))


SHAPE = (
    Operation("Reshape", "nothing, or RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Flatten", "nothing, or RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Squeeze", "nothing, or RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Unsqueeze", "nothing, or RESHAPE, TRANSPOSE", reshape, grid="same"),
    Operation("Transpose", "nothing, or TRANSPOSE", transpose, grid="same"),
    Operation("Identity", "nothing", identity, grid="same"),
    Operation("Dropout", "nothing", identity, grid="same"),
)
