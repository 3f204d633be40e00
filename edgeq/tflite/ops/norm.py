"""What normalization and transformers need beside products: Sqrt, Reciprocal and Gelu."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.ops.table import look_up
from edgeq.tflite.qdq_values import float_source, is_constant, node_name, read_real_constant

__all__ = ["NORM"]

INT8_MIN = -128


def sqrt(low: Lowering, node: ir.Node) -> None:
    """SQRT, or a table where a code is below zero, at which LiteRT's kernel stops; nothing by itself where the
    Reciprocal that follows it without a grid between takes the root as well."""
    uses = list(node.outputs[0].uses())
    if [user.op_type for user, _ in uses] == ["Reciprocal"] and not node.outputs[0].is_graph_output():
        return
    view = low.view(node.inputs[0], node)
    if low.grid(view.tensor).zero_point[0] == INT8_MIN or low.dtype == "float32":
        low.emit(node, "SQRT", [view.tensor], layout=view.layout)
    else:
        look_up(low, node, np.sqrt)


def reciprocal(low: Lowering, node: ir.Node) -> None:
    """A table, of 1 / sqrt(x) where a root comes before. (LiteRT's RSQRT stops at the code of zero, which a variance
    may have.)"""
    root = float_source(node.inputs[0], node).producer()
    if low.dtype == "float32":
        _float_reciprocal(low, node, root)
    elif root is None or root.op_type != "Sqrt" or str(root.outputs[0].name) in low.views:
        look_up(low, node, lambda x: 1 / x)
    else:
        look_up(low, node, lambda x: 1 / np.sqrt(x), source=low.view(root.inputs[0], root))


def _float_reciprocal(low: Lowering, node: ir.Node, root: ir.Node | None) -> None:
    """RSQRT where a root comes before, else a quotient of 1."""
    if root is not None and root.op_type == "Sqrt" and str(root.outputs[0].name) not in low.views:
        view = low.view(root.inputs[0], root)
        low.emit(node, "RSQRT", [view.tensor], layout=view.layout)
        return
    view = low.view(node.inputs[0], node)
    one = low.add_number(f"{node.outputs[0].name}/one", 1.0, len(view.layout.tensor_shape), low.dtype)
    low.emit(node, "DIV", [one, view.tensor], schema.DivOptionsT(), layout=view.layout)


def gelu(low: Lowering, node: ir.Node) -> None:
    """Both forms, by the error function and its approximation by tanh, as one node or as the chain that ends here."""
    chain = low.gelus.get(node)
    approximate = node.attributes.get_string("approximate", "none") == "tanh" if chain is None else chain.approximate
    view = low.view(node.inputs[0] if chain is None else chain.source, node)
    low.emit(node, "GELU", [view.tensor], schema.GeluOptionsT(approximate=approximate), layout=view.layout, version=2)


def power(low: Lowering, node: ir.Node) -> None:
    """The square as a product, the root as SQRT, another constant exponent as a table."""
    given = float_source(node.inputs[1], node)
    if not is_constant(given) or (values := read_real_constant(given, node)).size != 1:
        raise ExportError(
            "a Pow by exponents that are computed or several is not lowered", where=node_name(node), wanted="one number"
        )
    exponent = float(values.item())
    view = low.view(node.inputs[0], node)
    if exponent == 2:
        low.emit(node, "MUL", [view.tensor] * 2, schema.MulOptionsT(), layout=view.layout, version=2, fuse=True)
    elif exponent == 0.5:
        sqrt(low, node)
    elif low.dtype == "float32":
        power = low.add_number(f"{node.outputs[0].name}/exponent", exponent, len(view.layout.tensor_shape), low.dtype)
        low.emit(node, "POW", [view.tensor, power], schema.PowOptionsT(), layout=view.layout)
    else:
        look_up(low, node, lambda x: np.power(x, exponent))


NORM = (
    Operation("Sqrt", "SQRT or CAST, GATHER", sqrt),
    Operation("Reciprocal", "CAST, GATHER", reciprocal),
    Operation("Gelu", "GELU", gelu, limits="also as the chain of Erf or Tanh that exporters write before opset 20"),
    Operation("Pow", "MUL or SQRT or CAST, GATHER", power, limits="one constant exponent"),
)
