"""Functions of one value that TFLite has no exact int8 kernel for, as a table of what each of the 256 codes becomes.

CAST takes the int8 code to the uint8 with the same bits and that to an int32 index; GATHER looks it up in an int8
constant. This is exact, and every runtime has it. (LiteRT's int8 ELU is XNNPACK's alone, its SQRT and RSQRT stop at a
code below zero.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeq.tflite.lower import Lowering, View
from edgeq.tflite.model import Quantization, Tensor
from edgeq.tflite.ops.operation import Operation
from edgeq.tflite.refusals import no_form

__all__ = ["TABLE", "look_up", "table_codes", "table_index"]

Reals = NDArray[np.float64]
Function = Callable[[Reals], Reals]


def look_up(low: Lowering, node: ir.Node, function: Function, *, source: View | None = None) -> None:
    """Lower a node that computes a function of its first input (or of another value), value by value."""
    view = low.view(node.inputs[0], node) if source is None else source
    if low.dtype != "int8":
        raise no_form(node, low.dtype)
    grid = low.result_grid(node)
    table = table_codes(function, low.grid(view.tensor), grid)
    name = str(node.outputs[0].name)
    constant = low.add_constant(f"{name}/table", table, grid)
    index = table_index(low, view.tensor, name)
    low.emit(node, "GATHER", [constant, index], schema.GatherOptionsT(axis=0), layout=view.layout, version=2)


def table_index(low: Lowering, tensor: int, name: str) -> int:
    """The int32 tensor of a tensor's codes as indices of such a table."""
    shape = low.tensors[tensor].shape
    byte, index = (low.add_tensor(Tensor(f"{name}/{word}", shape, word)) for word in ("uint8", "int32"))
    kinds = schema.TensorType
    low.add_operator("CAST", [tensor], [byte], schema.CastOptionsT(kinds.INT8, kinds.UINT8))
    low.add_operator("CAST", [byte], [index], schema.CastOptionsT(kinds.UINT8, kinds.INT32))
    return index


def table_codes(function: Function, source: Quantization, result: Quantization) -> NDArray[np.int8]:
    """What each code becomes, int8 [256], in the order of the codes' bits read as uint8: 0 to 127, -128 to -1.

    A value that the function does not have (a logarithm of a negative number) becomes real zero.
    """
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    real = (source.scale[0] * (codes - source.zero_point[0]).astype(np.float32)).astype(np.float64)
    with np.errstate(all="ignore"):
        position = np.nan_to_num(function(real), posinf=np.inf, neginf=-np.inf) / result.scale[0].astype(np.float64)
        rounded = np.rint(position) + result.zero_point[0]
    table: NDArray[np.int8] = np.clip(rounded, -128, 127).astype(np.int8)
    return table


def _row(onnx: str, make: Callable[[ir.Node], Function], floats: str = "", limits: str = "") -> Operation:
    """``floats``: TFLite's operation on float32."""

    def lower(low: Lowering, node: ir.Node) -> None:
        if low.dtype == "float32" and floats and all(map(_is_default, node.attributes.values())):
            view = low.view(node.inputs[0], node)
            low.emit(node, floats, [view.tensor], layout=view.layout)
        else:
            look_up(low, node, make(node))

    return Operation(onnx, "CAST, GATHER", lower, limits=limits)


def _is_default(attribute: ir.Attr) -> bool:
    return attribute.name == "alpha" and attribute.value == 1.0


def _plain(function: Callable[[Any], Any]) -> Callable[[ir.Node], Function]:
    return lambda _node: lambda x: np.asarray(function(x), np.float64)


def _erf(x: Reals) -> Reals:
    return np.array([math.erf(item) for item in x])


def _softplus(x: Reals) -> Reals:
    return np.logaddexp(0.0, x)


def _elu(node: ir.Node) -> Function:
    alpha = node.attributes.get_float("alpha", 1.0)
    return lambda x: np.where(x > 0, x, alpha * np.expm1(x))


def _celu(node: ir.Node) -> Function:
    alpha = node.attributes.get_float("alpha", 1.0)
    return lambda x: np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)


def _selu(node: ir.Node) -> Function:
    alpha = node.attributes.get_float("alpha", 1.67326319217681884765625)
    gamma = node.attributes.get_float("gamma", 1.05070102214813232421875)
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(x))


def _thresholded_relu(node: ir.Node) -> Function:
    alpha = node.attributes.get_float("alpha", 1.0)
    return lambda x: np.where(x > alpha, x, 0.0)


def _shrink(node: ir.Node) -> Function:
    bias, lambd = node.attributes.get_float("bias", 0.0), node.attributes.get_float("lambd", 0.5)
    return lambda x: np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


TABLE = (
    _row("Erf", _plain(_erf)),
    _row("Elu", _elu, "ELU"),
    _row("Celu", _celu),
    _row("Selu", _selu),
    _row("Softplus", _plain(_softplus)),
    _row("Softsign", _plain(lambda x: x / (1 + np.abs(x)))),
    _row("Mish", _plain(lambda x: x * np.tanh(_softplus(x)))),
    _row("ThresholdedRelu", _thresholded_relu),
    _row("Shrink", _shrink),
    _row("Floor", _plain(np.floor), "FLOOR"),
    _row("Ceil", _plain(np.ceil), "CEIL"),
    _row("Round", _plain(np.rint), "ROUND"),
    _row("Sign", _plain(np.sign), "SIGN"),
    _row("Sin", _plain(np.sin), "SIN"),
    _row("Cos", _plain(np.cos), "COS"),
    _row("Atan", _plain(np.arctan)),
)
