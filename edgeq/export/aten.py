"""The operations of convolutional networks from torch.export's graph to ONNX, one for one.

torch.onnx can do this for every network, but decomposes and traces it a second time first: on a MobileNet-v2 that costs
1.5 s. A graph with anything that is not in the table here is left to it, whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

__all__ = ["CALL", "translate"]

SCOPES = "pkg.torch.onnx.name_scopes"  # as torch.onnx writes it: the modules around a node, then the node

CALL = "edgeq.call"
"""On a value, the number of the call of a torch function that computes it, where the graph's nodes are annotated so."""

IN_PLACE = {
    "add_.Tensor",
    "hardsigmoid_.default",
    "hardswish_.default",
    "hardtanh_.default",
    "relu6_.default",
    "relu_.default",
}
FLOAT = "torch.float32"
TRUTHS = {"ge.Tensor"}
VIEWS = {"dropout.default", "flatten.using_ints", "permute.default", "reshape.default", "transpose.int", "view.default"}


class _NoRuleError(Exception):
    """Something that the table has no row for."""


def translate(
    program: ExportedProgram, input_names: Sequence[str], output_names: Sequence[str] | None, opset: int
) -> ir.Model | None:
    """Translate an exported program; None where torch.onnx must do it.

    Args:
        program: of float32 values with fixed shapes, in evaluation mode.
        input_names: of the model's inputs.
        output_names: of its outputs; None takes the names of the nodes that compute them.
        opset: 18 or later.

    Returns:
        A model whose initializers have the names of the parameters and share their memory.
    """
    try:
        return _Translation(program, input_names).model(output_names, opset)
    except _NoRuleError:
        return None


class _Translation:
    def __init__(self, program: ExportedProgram, input_names: Sequence[str]) -> None:
        signature = program.graph_signature
        if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
            raise _NoRuleError
        self.program = program
        self.targets = {spec.arg.name: spec.target for spec in signature.input_specs if spec.target is not None}
        self.input_names = iter(input_names)
        self.inputs: list[ir.Value] = []
        self.values: dict[str, ir.Value] = {}  # by the name of the node in torch's graph
        self.initializers: dict[str, ir.Value] = {}
        self.nodes: list[ir.Node] = []

    def model(self, output_names: Sequence[str] | None, opset: int) -> ir.Model:
        results: Sequence[Any] = ()
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.placeholder(node)
            elif node.op == "output":
                results = node.args[0]
            else:
                self.values[node.name] = self.call(node)
        outputs = [self.output(node) for node in results]
        for value, name in zip(outputs, output_names or [node.name for node in results], strict=True):
            value.name = name
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=list(self.initializers.values()),
            opset_imports={"": opset},
            name="main",
        )
        return ir.Model(graph, ir_version=10)

    def placeholder(self, node: torch.fx.Node) -> None:
        target = self.targets.get(node.name)
        if target is None:
            shape = _shape(node)
            value = ir.Value(name=next(self.input_names), shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
            self.inputs.append(value)
            self.values[node.name] = value
        elif node.users:
            tensors = self.program.state_dict if target in self.program.state_dict else self.program.constants
            self.values[node.name] = self.constant(target, tensors[target].detach().numpy())

    def output(self, node: Any) -> ir.Value:
        """A result of the network: computed by a node, and only one of them."""
        value = self.values.get(getattr(node, "name", ""))
        if value is None or value.producer() is None or value.name is not None:
            raise _NoRuleError
        value.name = node.name
        return value

    def call(self, node: torch.fx.Node) -> ir.Value:
        name = str(node.target).removeprefix("aten.")
        if name in IN_PLACE:
            if not _owns_storage(node.all_input_nodes[0]):
                raise _NoRuleError
            name = name.replace("_.", ".")
        if name not in RULES:
            raise _NoRuleError
        _shape(node, "torch.bool" if name in TRUTHS else FLOAT)
        return RULES[name](self, node, *node.args, **node.kwargs)

    def emit(self, node: torch.fx.Node, kind: str, inputs: Sequence[Any], **attributes: Any) -> ir.Value:
        """An ONNX node over nodes of torch's graph (or constants) with the shape that torch found."""
        operands = [item if item is None or isinstance(item, ir.Value) else self.values[item.name] for item in inputs]
        result = ir.node(kind, operands, attributes)
        value = result.outputs[0]
        truth = str(node.target).removeprefix("aten.") in TRUTHS
        value.shape = ir.Shape(_shape(node, "torch.bool" if truth else FLOAT))
        value.type = ir.TensorType(ir.DataType.BOOL if truth else ir.DataType.FLOAT)
        modules = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
        result.metadata_props[SCOPES] = repr([*modules, node.name])
        call = node.meta.get("custom", {}).get(CALL)
        if call is not None:
            value.metadata_props[CALL] = str(call)
        self.nodes.append(result)
        return value

    def constant(self, name: str, data: Any) -> ir.Value:
        stem, number, shape = name, 1, np.shape(data)
        while name in self.initializers:
            name, number = f"{stem}_{number}", number + 1
        tensor = ir.tensor(np.ascontiguousarray(data).reshape(shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.initializers[name] = value
        return value


def _shape(node: torch.fx.Node, dtype: str = FLOAT) -> list[int]:
    value = node.meta.get("val")
    if value is None or not hasattr(value, "shape") or str(value.dtype) != dtype:
        raise _NoRuleError
    if not all(isinstance(size, int) for size in value.shape):
        raise _NoRuleError
    return list(value.shape)


def _owns_storage(node: torch.fx.Node) -> bool:
    """Whether a value can be changed in place without another reader noticing."""
    name = str(node.target).removeprefix("aten.")
    fresh = node.op == "call_function" and name not in VIEWS and (name in RULES or name in IN_PLACE)
    return fresh and len(node.users) == 1


# --- the table: each rule takes the translation, the node and torch's own arguments ----------------------------------


def _convolution(
    t: _Translation,
    node: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1,),
    padding: Any = (0,),
    dilation: Any = (1,),
    groups: int = 1,
) -> ir.Value:
    return t.emit(node, "Conv", _present(x, weight, bias), **_filters(weight, stride, padding, dilation, groups))


def _transposed(
    t: _Translation,
    node: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1,),
    padding: Any = (0,),
    output_padding: Any = (0,),
    groups: int = 1,
    dilation: Any = (1,),
) -> ir.Value:
    filters = _filters(weight, stride, padding, dilation, groups)
    extra = _spread(output_padding, len(filters["kernel_shape"]))
    return t.emit(node, "ConvTranspose", _present(x, weight, bias), output_padding=extra, **filters)


def _filters(weight: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    kernel = _shape(weight)[2:]
    strides, pads, dilations = (_spread(item, len(kernel)) for item in (stride, padding, dilation))
    return {"strides": strides, "pads": pads * 2, "dilations": dilations, "group": groups, "kernel_shape": kernel}


def _present(*inputs: Any) -> list[Any]:
    return [item for item in inputs if item is not None]


def _batch_norm(t: _Translation, node: Any, x: Any, *arguments: Any) -> ir.Value:
    *parameters, training, _momentum, epsilon, _cudnn = arguments
    if training or any(item is None for item in parameters):
        raise _NoRuleError
    return t.emit(node, "BatchNormalization", [x, *parameters], epsilon=epsilon)


def _linear(t: _Translation, node: Any, x: Any, weight: Any, bias: Any = None) -> ir.Value:
    if len(_shape(x)) != 2 or bias is None:
        raise _NoRuleError
    return t.emit(node, "Gemm", [x, weight, bias], transB=1)


def _hardtanh(t: _Translation, node: Any, x: Any, low: float = -1.0, high: float = 1.0) -> ir.Value:
    bounds = [t.constant(f"{node.name}.{word}", np.float32(value)) for word, value in (("min", low), ("max", high))]
    return t.emit(node, "Clip", [x, *bounds])


def _unary(kind: str, **attributes: float) -> Callable[..., ir.Value]:
    return lambda t, node, x: t.emit(node, kind, [x], **attributes)


def _binary(kind: str) -> Callable[..., ir.Value]:
    def rule(t: _Translation, node: Any, x: Any, y: Any, *, alpha: float = 1) -> ir.Value:
        if alpha != 1:
            raise _NoRuleError
        pair = [t.constant(f"{node.name}.value", np.float32(v)) if isinstance(v, int | float) else v for v in (x, y)]
        return t.emit(node, kind, pair)

    return rule


def _mean(t: _Translation, node: Any, x: Any, axes: Any, keepdim: bool = False, *, dtype: Any = None) -> ir.Value:
    if not axes or dtype is not None:
        raise _NoRuleError
    axes = np.array(sorted(axis % len(_shape(x)) for axis in axes), np.int64)
    return t.emit(node, "ReduceMean", [x, t.constant(f"{node.name}.axes", axes)], keepdims=int(keepdim))


def _global_average(t: _Translation, node: Any, x: Any, size: Any) -> ir.Value:
    if list(_spread(size, 2)) != [1, 1]:
        raise _NoRuleError
    return _mean(t, node, x, [-2, -1], True)


def _max_pool(
    t: _Translation,
    node: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> ir.Value:
    sizes = _window(node, x, kernel, stride, padding, ceil)
    return t.emit(node, "MaxPool", [x], dilations=_spread(dilation, 2), **sizes)


def _average_pool(
    t: _Translation,
    node: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor: Any = None,
) -> ir.Value:
    if divisor is not None or (ceil and count_include_pad):
        raise _NoRuleError
    sizes = _window(node, x, kernel, stride, padding, ceil)
    return t.emit(node, "AveragePool", [x], count_include_pad=int(count_include_pad), **sizes)


def _window(node: Any, x: Any, kernel: Any, stride: Any, padding: Any, ceil: bool) -> dict[str, Any]:
    kernel, pads = _spread(kernel, 2), _spread(padding, 2)
    strides = _spread(stride, 2) if stride else kernel
    if ceil:  # ONNX counts a last window that starts in the padding, torch does not
        sides = zip(_shape(x)[2:], pads, kernel, strides, strict=True)
        counted = [math.ceil((size + 2 * pad - width) / step) + 1 for size, pad, width, step in sides]
        if counted != _shape(node)[2:]:
            raise _NoRuleError
    return {"kernel_shape": kernel, "strides": strides, "pads": pads * 2, "ceil_mode": int(ceil)}


def _concat(t: _Translation, node: Any, tensors: Any, axis: int = 0) -> ir.Value:
    return t.emit(node, "Concat", tensors, axis=axis % len(_shape(node)))


def _reshape(t: _Translation, node: Any, x: Any, *_: Any) -> ir.Value:
    if x.name in t.values and (stored := t.values[x.name].const_value) is not None:
        return t.constant(node.name, stored.numpy().reshape(_shape(node)))
    return t.emit(node, "Reshape", [x, t.constant(f"{node.name}.shape", np.array(_shape(node), np.int64))])


def _swap(t: _Translation, node: Any, x: Any, first: int, second: int) -> ir.Value:
    axes = list(range(len(_shape(x))))
    axes[first], axes[second] = axes[second], axes[first]
    return t.emit(node, "Transpose", [x], perm=axes)


def _permute(t: _Translation, node: Any, x: Any, axes: Any) -> ir.Value:
    return t.emit(node, "Transpose", [x], perm=[axis % len(axes) for axis in axes])


def _dropout(t: _Translation, node: Any, x: Any, share: float, training: bool) -> ir.Value:
    if training:
        raise _NoRuleError
    return t.values[x.name]


def _pad(t: _Translation, node: Any, x: Any, amounts: Any, mode: str = "constant", value: Any = None) -> ir.Value:
    if mode != "constant" or value or min(amounts) < 0:
        raise _NoRuleError
    missing = [0] * (len(_shape(x)) - len(amounts) // 2)
    ends = [missing + list(reversed(amounts[side::2])) for side in (0, 1)]  # torch begins at the last axis
    return t.emit(node, "Pad", [x, t.constant(f"{node.name}.pads", np.array(ends, np.int64).ravel())])


def _choice(t: _Translation, node: Any, condition: Any, first: float, second: float) -> ir.Value:
    branches = [t.constant(f"{node.name}.{word}", np.float32(v)) for word, v in (("true", first), ("false", second))]
    return t.emit(node, "Where", [condition, *branches])


def _rounded(t: _Translation, node: Any, x: Any, scale: float, zero: int, low: int, high: int) -> ir.Value:
    if (low, high) != (-128, 127):
        raise _NoRuleError
    grid = [t.constant(f"{node.name}.scale", np.float32(scale)), t.constant(f"{node.name}.zero", np.int8(zero))]
    codes = t.emit(node, "QuantizeLinear", [x, *grid])
    codes.type = ir.TensorType(ir.DataType.INT8)
    return t.emit(node, "DequantizeLinear", [codes, *grid])


def _spread(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


RULES: dict[str, Callable[..., ir.Value]] = {
    "adaptive_avg_pool2d.default": _global_average,
    "add.Tensor": _binary("Add"),
    "avg_pool2d.default": _average_pool,
    "batch_norm.default": _batch_norm,
    "cat.default": _concat,
    "conv1d.default": _convolution,
    "conv2d.default": _convolution,
    "conv_transpose2d.input": _transposed,
    "dropout.default": _dropout,
    "fake_quantize_per_tensor_affine.default": _rounded,
    "flatten.using_ints": _reshape,
    "ge.Tensor": lambda t, node, x, y: t.emit(node, "GreaterOrEqual", [x, y]),
    "hardsigmoid.default": _unary("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardswish.default": _unary("HardSwish"),
    "hardtanh.default": _hardtanh,
    "linear.default": _linear,
    "max_pool2d.default": _max_pool,
    "mean.dim": _mean,
    "mul.Tensor": _binary("Mul"),
    "pad.default": _pad,
    "permute.default": _permute,
    "relu.default": _unary("Relu"),
    "relu6.default": lambda t, node, x: _hardtanh(t, node, x, 0.0, 6.0),
    "reshape.default": _reshape,
    "sigmoid.default": _unary("Sigmoid"),
    "sub.Tensor": _binary("Sub"),
    "tanh.default": _unary("Tanh"),
    "transpose.int": _swap,
    "view.default": _reshape,
    "where.Scalar": _choice,
}
