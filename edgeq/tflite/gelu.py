"""Find Gelu where a model has it as the chain of operations that exporters write before opset 20.

    x * 0.5 * (1 + erf(x / sqrt(2)))
    x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))      its approximation

Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edgeq.tflite.qdq_values import float_source

__all__ = ["GeluChain", "find_gelus"]


@dataclass(frozen=True, slots=True)
class GeluChain:
    """Gelu as several nodes.

    Attributes:
        source: the x that the chain reads, as its nodes read it.
        inner: the nodes but the last; nothing else reads their results.
        last: the node whose result is the chain's.
        approximate: by tanh.
    """

    source: ir.Value
    inner: frozenset[ir.Node]
    last: ir.Node
    approximate: bool


def find_gelus(graph: ir.Graph) -> list[GeluChain]:
    """Every chain of a float or QDQ graph that has no Q and DQ within."""
    chains = (_match(node) for node in graph if node.op_type in ("Erf", "Tanh"))
    return [chain for chain in chains if chain is not None]


def _match(middle: ir.Node) -> GeluChain | None:
    inner = {middle}
    source = _erf_source(middle, inner) if middle.op_type == "Erf" else _tanh_source(middle, inner)
    plus_one = None if source is None else _reader(middle, "Add")
    if source is None or plus_one is None or not _is(_other(plus_one, middle), 1.0):
        return None
    last = _reader(plus_one, "Mul")
    head = plus_one
    inner.add(plus_one)
    found: set[str] = set()
    while last is not None:  # by x and by a half, in either order or as one product
        found |= _factors(_other(last, head), source, last, inner)
        if found == {"x", "half"}:
            alone = all(user in inner or user is last for node in inner for user, _ in node.outputs[0].uses())
            kept = any(node.outputs[0].is_graph_output() for node in inner)
            return GeluChain(source, frozenset(inner), last, middle.op_type == "Tanh") if alone and not kept else None
        if len(found) != 1 or last in inner:
            return None
        inner.add(last)
        head, last = last, _reader(last, "Mul")
    return None


def _factors(value: ir.Value | None, source: ir.Value, node: ir.Node, inner: set[ir.Node]) -> set[str]:
    if _is(value, 0.5):
        return {"half"}
    if _same(value, source, node):
        return {"x"}
    product = None if value is None else value.producer()
    if product is not None and product.op_type == "Mul":
        inputs = list(product.inputs)
        for half, x in (inputs, reversed(inputs)):
            if _is(half, 0.5) and _same(x, source, product):
                inner.add(product)
                return {"x", "half"}
    return {"other", "thing"}


def _erf_source(erf: ir.Node, inner: set[ir.Node]) -> ir.Value | None:
    scaled = _producer(erf.inputs[0])
    if scaled is None or len(scaled.inputs) != 2:
        return None
    inner.add(scaled)
    first, second = scaled.inputs
    if scaled.op_type == "Div":
        return first if _is(second, math.sqrt(2)) else None
    return _beside(scaled, math.sqrt(0.5)) if scaled.op_type == "Mul" else None


def _tanh_source(tanh: ir.Node, inner: set[ir.Node]) -> ir.Value | None:
    scaled = _producer(tanh.inputs[0])
    total = None if scaled is None or scaled.op_type != "Mul" else _producer(_beside(scaled, math.sqrt(2 / math.pi)))
    if scaled is None or total is None or total.op_type != "Add":
        return None
    for slot in (0, 1):
        source, term = total.inputs[slot], _producer(total.inputs[1 - slot])
        cube = None if term is None or term.op_type != "Mul" else _producer(_beside(term, 0.044715))
        if source is not None and term is not None and cube is not None and _is_cube(cube, source, inner):
            inner |= {scaled, total, term, cube}
            return source
    return None


def _is_cube(node: ir.Node, source: ir.Value, inner: set[ir.Node]) -> bool:
    if node.op_type == "Pow":
        return _same(node.inputs[0], source, node) and _is(node.inputs[1], 3.0)
    for slot in (0, 1):
        square = _producer(node.inputs[slot]) if node.op_type == "Mul" else None
        if square is None or not _same(node.inputs[1 - slot], source, node):
            continue
        power = square.op_type == "Pow" and _is(square.inputs[1], 2.0)
        product = square.op_type == "Mul" and _same(square.inputs[1], source, square)
        if _same(square.inputs[0], source, square) and (power or product):
            inner.add(square)
            return True
    return False


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _reader(node: ir.Node, kind: str) -> ir.Node | None:
    """The one node that reads a node's result, if it is of that kind."""
    uses = list(node.outputs[0].uses())
    return uses[0][0] if len(uses) == 1 and uses[0][0].op_type == kind else None


def _other(node: ir.Node, one: ir.Node) -> ir.Value | None:
    """The operand that is not the result of a node."""
    return node.inputs[1] if node.inputs[0] is one.outputs[0] else node.inputs[0]


def _beside(node: ir.Node, number: float) -> ir.Value | None:
    """The operand beside a constant."""
    first, second = node.inputs
    return second if _is(first, number) else first if _is(second, number) else None


def _is(value: ir.Value | None, number: float) -> bool:
    """Whether a value is a constant near a number, as float16 would have it."""
    if value is None or value.const_value is None or value.const_value.size != 1:
        return False
    return math.isclose(float(value.const_value.numpy().item()), number, rel_tol=1e-3)


def _same(value: ir.Value | None, source: ir.Value, node: ir.Node) -> bool:
    return value is not None and float_source(value, node) is float_source(source, node)
