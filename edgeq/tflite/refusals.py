"""What is said of an operation that cannot be lowered."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from edgeq.errors import ExportError
from edgeq.tflite.qdq_values import node_name

__all__ = ["no_form", "unsupported"]


def no_form(node: ir.Node, dtype: str, why: str = "") -> ExportError:
    """The error for an operation that can be computed in other types, but not in this one."""
    return ExportError(
        f"the operation {node.op_type} has no {dtype} form in TFLite that edgeq knows",
        where=node_name(node),
        got=why or None,
        remedy="choose --mode int8, or another type for this node in the recipe's [layers]",
    )


def unsupported(node: ir.Node, rules: Iterable[str]) -> ExportError:
    """The error for an operation that has no int8 form here."""
    operation = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return ExportError(
        f"the operation {operation} has no int8 form in TFLite that edgeq knows",
        where=node_name(node),
        wanted=f"one of {', '.join(sorted(rules))}",
        remedy="replace it in the network",
    )
