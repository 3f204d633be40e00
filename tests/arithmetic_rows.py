"""Random products, arithmetic, truth values and functions of one value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from random_graphs import Draft, Row, Value
from window_rows import follow

Operand = Value | NDArray[np.float32]


def gemm(draft: Draft, x: Value) -> None:
    inputs, outputs, turned = x.shape[1], draft.integer(1, 8), draft.integer(0, 1)
    shape = (outputs, inputs) if turned else (inputs, outputs)
    operands: list[Operand] = [x, draft.weights(*shape, axis=1 - turned, fan_in=inputs)]
    if draft.chance():
        operands.append(draft.weights(outputs))
    follow(draft, draft.one("Gemm", operands, transB=turned))


def matmul(draft: Draft, x: Value) -> None:
    """By a matrix, with the Add of a bias; by a constant batch; by another activation, or the value transposed."""
    inputs, style = x.shape[-1], draft.one_of("matrix", "matrix", "bias", "batch", "activation")
    if style in ("matrix", "bias"):
        outputs = draft.integer(1, 8)
        y = draft.one("MatMul", [x, draft.weights(inputs, outputs, axis=1, fan_in=inputs)])
        if style == "bias":
            y = draft.one("Add", [y, draft.weights(outputs)])
        follow(draft, y)
        return
    if style == "batch" and len(x.shape) > 2:
        draft.one("MatMul", [x, draft.weights(*x.shape[:-2], inputs, draft.integer(1, 6), axis=-1, fan_in=inputs)])
        return
    large = 2 * x.large * x.large
    fitting = draft.others(lambda v: v.shape[:-2] == x.shape[:-2] and len(v.shape) > 1 and v.shape[-2] == inputs
                           and v.size < 500 and v.large < 300)  # fmt: skip
    if fitting and draft.chance():
        draft.one("MatMul", [x, fitting[0]], large=large)
        return
    axes = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
    turned = draft.one("Transpose", [x], perm=axes)
    draft.one("MatMul", [x, turned] if draft.chance() else [turned, x], large=large)


def layer_norm(draft: Draft, x: Value) -> None:
    axis = draft.integer(1, len(x.shape) - 1)
    shape = x.shape[axis:]
    operands: list[Operand] = [x, draft.weights(*shape)]
    if draft.chance():
        operands.append(draft.weights(*shape))
    draft.one("LayerNormalization", operands, axis=axis, epsilon=1e-3, large=6.0)


def operand(draft: Draft, x: Value) -> Operand:
    """What broadcasts against a value: itself, another, a mean of it, or a constant of some of its axes."""
    style = draft.one_of("value", "value", "mean", "channel", "scalar", "last", "whole")
    if style == "value":
        return _fitting(draft, x)
    if style == "mean" and len(x.shape) > 2 and max(x.shape[2:]) > 1:
        wide = [axis for axis in range(2, len(x.shape)) if x.shape[axis] > 1]
        return draft.one("ReduceMean", [x, wide], keepdims=1)
    if style == "channel" and len(x.shape) > 2:
        return draft.weights(x.shape[1], *[1] * (len(x.shape) - 2))
    if style == "last":
        return draft.weights(x.shape[-1])
    return draft.weights(*x.shape) if style == "whole" else draft.weights()


def _fitting(draft: Draft, x: Value) -> Value:
    """A value that broadcasts to the shape."""

    def fits(value: Value) -> bool:
        pairs = zip(reversed(value.shape), reversed(x.shape), strict=False)
        return len(value.shape) <= len(x.shape) and value.large < 300 and all(one in (1, all_) for one, all_ in pairs)

    chosen: Value = draft.one_of(*draft.others(fits)[:4])
    return chosen


def binary(kind: str, *, fused: bool = False) -> Row:
    def add(draft: Draft, x: Value) -> None:
        other = operand(draft, x)
        large = other.large if isinstance(other, Value) else 4.0
        total = x.large * large if kind == "Mul" else x.large + large
        y = draft.one(kind, [x, other] if draft.chance() else [other, x], large=total)
        if fused and draft.chance():
            follow(draft, y)

    return Row(kind, add)


def div(draft: Draft, x: Value) -> None:
    generator = np.random.default_rng(draft.integer(0, 999))
    style = draft.one_of("number", "channels", "of a number")
    if style == "of a number":
        safe = draft.one("Exp", [draft.one("Tanh", [x], large=1.0)], large=3.0)
        draft.one("Div", [float(generator.uniform(-3, 3)), safe], large=9.0)
        return
    shape = (x.shape[1], *[1] * (len(x.shape) - 2)) if style == "channels" and len(x.shape) in (3, 4) else ()
    divisor = generator.uniform(0.5, 4, shape) * generator.choice([-1, 1], shape)
    draft.one("Div", [x, np.asarray(divisor, np.float32)], large=2 * x.large)


def compare(kind: str) -> Row:
    def add(draft: Draft, x: Value) -> None:
        fitting = _fitting(draft, x) if draft.chance() else None
        number = 0.0 if kind == "Equal" else draft.one_of(0.3, -0.5, 50.0)
        other: Any = number if fitting is None else fitting
        mask = draft.one(kind, [x, other] if draft.chance() else [other, x])
        numbers = draft.one_of(None, (1.0, -1.0), (0.0, 6.0), (0.75, 0.25))
        if numbers is None:
            _select(draft, mask, x)
        else:
            draft.one("Where", [mask, *numbers], large=6.0)

    return Row(kind, add)


def logical(kind: str) -> Row:
    def add(draft: Draft, x: Value) -> None:
        masks = [draft.one("Greater", [x, 0.3]), draft.one("Less", [x, draft.one_of(0.5, -0.5)])]
        _select(draft, draft.one(kind, masks[: 1 if kind == "Not" else 2]), x)
        if kind == "Not":
            _select(draft, masks[1], x)

    return Row(kind, add)


def _select(draft: Draft, mask: Value, x: Value) -> None:
    other: Any = draft.one_of(0.0, 1.25) if draft.chance() else _fitting(draft, x)
    large = x.large + (other.large if isinstance(other, Value) else 2)
    draft.one("Where", [mask, x, other] if draft.chance() else [mask, other, x], large=large)


def where(draft: Draft, x: Value) -> None:
    """A constant condition, over all or some axes."""
    shape = draft.one_of(x.shape, x.shape[-1:])
    generator = np.random.default_rng(draft.integer(0, 999))
    condition = generator.random(shape) < 0.5
    draft.one("Where", [condition, x, _fitting(draft, x)], large=300.0 if x.large > 200 else None)


def cast(draft: Draft, x: Value) -> None:
    mask = draft.one("Cast", [draft.one("Greater", [x, 0.3])], to=TensorProto.FLOAT, large=1.0)
    if draft.chance():
        draft.one("Mul", [x, mask])


def function(kind: str, *, bounded: bool = False, large: float | None = None, **choices: tuple[float, ...]) -> Row:
    """A function of one value; each attribute one of some numbers, or left out."""

    def add(draft: Draft, x: Value) -> None:
        attributes = {name: draft.one_of(None, *numbers) for name, numbers in choices.items()}
        draft.one(kind, [x], large=large, **attributes)

    return Row(kind, add, bounded=bounded)


def positive(draft: Draft, x: Value) -> Value:
    """What roots and logarithms are taken of: squares, magnitudes or exponentials, a little above zero."""
    style = draft.one_of("Abs", "Exp", "Sigmoid")
    if style == "Exp":
        return draft.one("Exp", [draft.one("Tanh", [x], large=1.0)], large=3.0)
    y = draft.one(style, [x])
    return draft.one("Add", [y, draft.one_of(0.1, 0.5)])


def of_positive(kind: str, large: float) -> Row:
    return Row(kind, lambda draft, x: draft.node(kind, [positive(draft, x)], large=large))


def exp(draft: Draft, x: Value) -> None:
    draft.one("Exp", [draft.one("Tanh", [x], large=1.0)], large=3.0)


def power(draft: Draft, x: Value) -> None:
    if draft.chance():
        draft.one("Pow", [x, 2.0], large=x.large**2)
    else:
        draft.one("Pow", [positive(draft, x), draft.one_of(0.5, 1.7, -1.0)], large=30.0)


def clip(draft: Draft, x: Value) -> None:
    low, high = draft.one_of(None, 0.0, -1.0, -0.6), draft.one_of(None, 6.0, 1.0, 0.9)
    draft.one("Clip", [x, low, high] if (low, high) != (None, None) else [x, 0.0])


def prelu(draft: Draft, x: Value) -> None:
    shape = (x.shape[1], *[1] * (len(x.shape) - 2)) if len(x.shape) > 2 and draft.chance() else (1,)
    low, high = draft.one_of((0, 0.5), (1, 2), (-1, 2))
    generator = np.random.default_rng(draft.integer(0, 999))
    draft.one("PRelu", [x, generator.uniform(low, high, shape).astype(np.float32)], large=2 * x.large)


def softmax(draft: Draft, x: Value) -> None:
    draft.one("Softmax", [x], axis=draft.integer(0, len(x.shape) - 1), large=1.0)


def gelu(draft: Draft, x: Value) -> None:
    draft.one("Gelu", [x], approximate=draft.one_of("none", "tanh"))


ARITHMETIC = (
    Row("Gemm", gemm, lambda shape: len(shape) == 2),
    Row("MatMul", matmul, lambda shape: len(shape) > 1),
    Row("LayerNormalization", layer_norm, lambda shape: len(shape) > 1 and shape[-1] > 1, bounded=True),
    *(binary(kind, fused=True) for kind in ("Add", "Sub", "Mul")),
    *(binary(kind) for kind in ("Max", "Min")),
    Row("Div", div),
    function("Neg"),
    *(compare(kind) for kind in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")),
    *(logical(kind) for kind in ("And", "Or", "Not")),
    Row("Where", where),
    Row("Cast", cast),
    function("Relu"),
    Row("Clip", clip),
    function("LeakyRelu", alpha=(0.2, 0.5)),
    Row("PRelu", prelu),
    function("Sigmoid", bounded=True, large=1.0),
    function("Tanh", bounded=True, large=1.0),
    function("HardSigmoid", bounded=True, large=1.0, alpha=(0.16666667, 0.3), beta=(0.5, 0.2)),
    function("HardSwish"),
    Row("Softmax", softmax, lambda shape: len(shape) > 1, bounded=True),
    Row("Exp", exp, bounded=True),
    of_positive("Log", 6.0),
    of_positive("Sqrt", 20.0),
    of_positive("Reciprocal", 10.0),
    Row("Pow", power),
    Row("Gelu", gelu),
    *(function(kind) for kind in ("Abs", "Selu", "Softplus", "Mish", "Floor", "Ceil", "Round")),
    *(function(kind, bounded=True, large=2.0) for kind in ("Erf", "Softsign", "Sign", "Sin", "Cos", "Atan")),
    function("Elu", alpha=(0.3, 2.0)),
    function("Celu", alpha=(0.3, 2.0)),
    function("ThresholdedRelu", alpha=(0.3, 2.0)),
    function("Shrink", lambd=(0.3, 1.0), bias=(0.0, 0.2)),
)
