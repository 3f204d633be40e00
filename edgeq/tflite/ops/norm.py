"""What normalization and transformers need beside products: Sqrt, Reciprocal (of a root: RSQRT) and Gelu."""

from __future__ import annotations

import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_real_constant

__all__ = ["NORM"]

INT8_MIN = -128


def sqrt(low: Lowering, node: ir.Node) -> None:
    """SQRT; nothing by itself where the Reciprocal that follows it without a grid between becomes RSQRT."""
    uses = list(node.outputs[0].uses())
    if [user.op_type for user, _ in uses] == ["Reciprocal"] and not node.outputs[0].is_graph_output():
        return
    view = low.view(node.inputs[0], node)
    _check_positive(low, node, view.tensor)
    low.emit(node, "SQRT", [view.tensor], layout=view.layout)


def reciprocal(low: Lowering, node: ir.Node) -> None:
    """1 / sqrt(x) as RSQRT."""
    root = float_source(node.inputs[0], node).producer()
    if root is None or root.op_type != "Sqrt" or str(root.outputs[0].name) in low.views:
        raise ExportError(
            "a Reciprocal is lowered behind a Sqrt only", where=node_name(node), remedy="divide by the value instead"
        )
    view = low.view(root.inputs[0], root)
    _check_positive(low, node, view.tensor)
    low.emit(node, "RSQRT", [view.tensor], layout=view.layout, version=2)


def _check_positive(low: Lowering, node: ir.Node, tensor: int) -> None:
    """TFLite's kernels stop at a code that stands for a negative number."""
    zero = int(low.grid(tensor).zero_point[0])
    if zero != INT8_MIN:
        raise ExportError(
            "the grid of a root's input holds negative numbers",
            where=node_name(node),
            got=f"zero point {zero}",
            wanted="-128",
            remedy="calibrate again: a root's input has no negative values",
        )


def gelu(low: Lowering, node: ir.Node) -> None:
    """Both forms, by the error function and its approximation by tanh, as one node or as the chain that ends here."""
    chain = low.gelus.get(node)
    approximate = node.attributes.get_string("approximate", "none") == "tanh" if chain is None else chain.approximate
    view = low.view(node.inputs[0] if chain is None else chain.source, node)
    low.emit(node, "GELU", [view.tensor], schema.GeluOptionsT(approximate=approximate), layout=view.layout, version=2)


def power(low: Lowering, node: ir.Node) -> None:
    """The square as a product, the root as SQRT."""
    given = node.inputs[1]
    exponent = float(read_real_constant(given, node).item()) if given is not None and is_constant(given) else None
    if exponent == 0.5:
        sqrt(low, node)
        return
    if exponent != 2:
        raise ExportError("only Pow by 2 and 0.5 are lowered", where=node_name(node), got=exponent)
    view = low.view(node.inputs[0], node)
    low.emit(node, "MUL", [view.tensor] * 2, schema.MulOptionsT(), layout=view.layout, version=2, fuse=True)


NORM = (
    Operation("Sqrt", "SQRT", sqrt, limits="a grid without negative numbers"),
    Operation("Reciprocal", "RSQRT", reciprocal, limits="of a Sqrt"),
    Operation("Gelu", "GELU", gelu, limits="also as the chain of Erf or Tanh that exporters write before opset 20"),
    Operation("Pow", "MUL, SQRT", power, limits="by 2 or 0.5"),
)
