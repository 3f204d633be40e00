"""A small float network for each row of the operations table, and what it should become."""

from __future__ import annotations

import numpy as np
from dense_cases import DENSE
from int8_models import Constant, weights
from norm_cases import DECOMPOSED, NORM
from operation_case import IMAGE, Case, Shape
from shape_cases import SHAPE

__all__ = ["CASES", "IMAGE", "Case", "Shape"]


def conv(about: str, attributes: str, becomes: str, shape: Shape, *, bias: bool = True, size: Shape = (6, 11)) -> Case:
    """A convolution of 3 channels (or as many as the groups need)."""
    groups = int(attributes.split("group = ")[1].split(",")[0]) if "group" in attributes else 1
    constants: dict[str, Constant] = {"w": weights(*shape)}
    if bias:
        constants["b"] = weights(shape[0])
    inputs = {"x": (1, shape[1] * groups, *size)}
    text = f"y = Conv <{attributes}> (x, w{', b' if bias else ''})"
    return Case("Conv", about, text, becomes, constants, inputs)


def pool(row: str, about: str, attributes: str, becomes: str, size: Shape = (6, 11)) -> Case:
    return Case(row, about, f"y = {row} <{attributes}> (x)", becomes, inputs={"x": (1, 3, *size)})


CONV = (
    conv("plain", "strides = [1, 1]", "CONV_2D", (5, 3, 3, 2)),
    conv("no bias", "pads = [1, 1, 1, 1]", "CONV_2D", (5, 3, 3, 3), bias=False),
    conv("1x1", "strides = [1, 1]", "CONV_2D", (5, 3, 1, 1)),
    conv("1x1 stride 2", "strides = [2, 2]", "CONV_2D", (5, 3, 1, 1)),
    conv("same stride 2 odd", "pads = [1, 1, 1, 1], strides = [2, 2]", "CONV_2D", (5, 3, 3, 3), size=(7, 11)),
    conv("torch pads stride 2 even", "pads = [1, 1, 1, 1], strides = [2, 2]", "PAD CONV_2D", (5, 3, 3, 3), size=(6, 8)),
    conv("same one way only", "pads = [1, 1, 1, 1], strides = [2, 2]", "PAD CONV_2D", (5, 3, 3, 3), size=(7, 8)),
    conv("stride 3", "pads = [1, 1, 1, 1], strides = [3, 3]", "PAD CONV_2D", (5, 3, 3, 3)),
    conv("strides 3 and 2", "pads = [2, 1, 0, 3], strides = [3, 2]", "PAD CONV_2D", (5, 3, 3, 4)),
    conv("asymmetric pads", "pads = [0, 2, 1, 3]", "PAD CONV_2D", (5, 3, 3, 3)),
    conv("same upper", 'auto_pad = "SAME_UPPER", strides = [2, 2]', "CONV_2D", (5, 3, 3, 4)),
    conv("same lower", 'auto_pad = "SAME_LOWER", strides = [2, 2]', "PAD CONV_2D", (5, 3, 3, 4)),
    conv("same lower that is upper", 'auto_pad = "SAME_LOWER"', "CONV_2D", (5, 3, 3, 5)),
    conv("auto pad valid", 'auto_pad = "VALID"', "CONV_2D", (5, 3, 3, 5)),
    conv("dilation", "pads = [2, 3, 2, 3], dilations = [2, 3]", "CONV_2D", (5, 3, 3, 3)),
    conv("groups", "group = 2, pads = [1, 1, 1, 1]", "CONV_2D", (6, 4, 3, 3)),
    conv("depthwise", "group = 5, pads = [1, 1, 1, 1]", "DEPTHWISE_CONV_2D", (5, 1, 3, 3)),
    conv("depthwise times 3", "group = 4, pads = [1, 0, 1, 0]", "DEPTHWISE_CONV_2D", (12, 1, 3, 1)),
    conv("depthwise stride dilated", "group = 4, dilations = [2, 2]", "DEPTHWISE_CONV_2D", (4, 1, 2, 3)),
    Case("Conv", "1 channel", "y = Conv (x, w)", "CONV_2D", {"w": weights(4, 1, 3, 2)}, {"x": (1, 1, 5, 7)}),
)

POOL = (
    pool("MaxPool", "plain", "kernel_shape = [2, 3], strides = [2, 3]", "MAX_POOL_2D"),
    pool("MaxPool", "same", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "MAX_POOL_2D"),
    pool("MaxPool", "torch pads", "kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]", "PADV2 MAX_POOL_2D",
         (6, 8)),
    pool("MaxPool", "asymmetric pads", "kernel_shape = [3, 3], pads = [0, 2, 1, 0]", "PADV2 MAX_POOL_2D"),
    pool("MaxPool", "ceil", "kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1", "MAX_POOL_2D", (6, 11)),
    pool("MaxPool", "ceil and pads", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1",
         "PADV2 MAX_POOL_2D", (6, 9)),
    pool("MaxPool", "same lower", 'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER"',
         "PADV2 MAX_POOL_2D", (6, 8)),
    pool("AveragePool", "plain", "kernel_shape = [2, 3], strides = [2, 3]", "AVERAGE_POOL_2D"),
    pool("AveragePool", "pads left out", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", "AVERAGE_POOL_2D"),
    pool("AveragePool", "pads counted", "kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1",
         "PAD AVERAGE_POOL_2D"),
    pool("AveragePool", "asymmetric pads counted",
         "kernel_shape = [3, 2], pads = [0, 1, 2, 0], count_include_pad = 1", "PAD AVERAGE_POOL_2D"),
    pool("AveragePool", "ceil", "kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1", "AVERAGE_POOL_2D"),
    pool("AveragePool", "same upper", 'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"',
         "AVERAGE_POOL_2D"),
    pool("AveragePool", "same upper counted",
         'kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER", count_include_pad = 1',
         "PAD AVERAGE_POOL_2D"),
    Case("AveragePool", "after tanh", "t = Tanh (x)\n y = AveragePool <kernel_shape = [2, 2]> (t)",
         "TANH AVERAGE_POOL_2D"),
    Case("MaxPool", "before relu", "m = MaxPool <kernel_shape = [2, 2]> (x)\n y = Relu (m)", "MAX_POOL_2D RELU"),
    Case("GlobalAveragePool", "plain", "y = GlobalAveragePool (x)", "MEAN"),
    Case("ReduceMean", "pixels kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [2, 3]}),
    Case("ReduceMean", "pixels dropped", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN", {"axes": [-1, -2]}),
    Case("ReduceMean", "channels kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [1]}),
    Case("ReduceMean", "rows kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [2]}),
    Case("ReduceMean", "of three dimensions", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN", {"axes": [1]},
         {"x": (1, 5, 7)}),
    Case("ReduceMean", "all axes", "y = ReduceMean (x)", "MEAN"),
    Case("ReduceMean", "all axes by an empty list", "y = ReduceMean (x, axes)", "MEAN", {"axes": []}),
)  # fmt: skip

TWO = {"x": (1, 3, 6, 11), "z": (1, 3, 6, 11)}
ELEMENTWISE = (
    Case("Add", "residual", "y = Add (x, z)", "ADD", inputs=TWO),
    Case("Add", "relu fused", "a = Add (x, z)\n y = Relu (a)", "ADD", inputs=TWO),
    Case("Add", "with itself", "y = Add (x, x)", "ADD"),
    Case("Add", "broadcast pixels", "y = Add (x, z)", "ADD", inputs={"x": (1, 3, 6, 11), "z": (1, 3, 1, 1)}),
    Case("Add", "constant a channel", "y = Add (x, c)", "ADD", {"c": weights(3, 1, 1)}),
    Case("Add", "scalar constant first", "y = Add (c, x)", "ADD", {"c": 0.625}),
    Case("Add", "zero constant", "y = Add (x, c)", "ADD", {"c": np.zeros((3, 1, 1), np.float32)}),
    Case("Add", "constant of full size", "y = Add (x, c)", "ADD", {"c": weights(1, 3, 6, 11)}),
    Case("Sub", "residual", "y = Sub (x, z)", "SUB", inputs=TWO),
    Case("Sub", "constant first", "y = Sub (c, x)", "SUB", {"c": weights(3, 1, 1)}),
    Case("Mul", "residual", "y = Mul (x, z)", "MUL", inputs=TWO),
    Case("Mul", "gate a channel", "y = Mul (x, z)", "MUL", inputs={"x": (1, 3, 6, 11), "z": (1, 3, 1, 1)}),
    Case("Mul", "constant a column", "y = Mul (x, c)", "MUL", {"c": weights(11)}),
    Case("Mul", "squared, relu fused", "m = Mul (x, x)\n y = Relu (m)", "MUL"),
    Case("Mul", "matrix", "y = Mul (x, c)", "MUL", {"c": weights(1, 7)}, {"x": (1, 7)}),
)

WITH_CONV: dict[str, Constant] = {"w": weights(4, 3, 3, 3), "b": weights(4)}
ACTIVATION = (
    Case("Relu", "alone", "y = Relu (x)", "RELU"),
    Case("Relu", "fused", "c = Conv (x, w, b)\n y = Relu (c)", "CONV_2D", WITH_CONV),
    Case("Relu", "one of two readers", "c = Conv (x, w, b)\n y = Relu (c)\n z = Tanh (c)", "CONV_2D RELU TANH",
         WITH_CONV, outputs=("y", "z")),
    Case("Relu", "of an output", "c = Conv (x, w, b)\n y = Relu (c)", "CONV_2D RELU", WITH_CONV, outputs=("c", "y")),
    Case("Clip", "relu6 alone", "y = Clip (x, low, high)", "RELU6", {"low": 0.0, "high": 6.0}),
    Case("Clip", "relu6 fused", "c = Conv (x, w, b)\n y = Clip (c, low, high)", "CONV_2D",
         {**WITH_CONV, "low": 0.0, "high": 6.0}),
    Case("Clip", "bounds as vectors", "y = Clip (x, low, high)", "RELU6",
         {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}),
    Case("Clip", "relu", "y = Clip (x, low)", "RELU", {"low": 0.0}),
    Case("Clip", "-1 to 1", "y = Clip (x, low, high)", "RELU_N1_TO_1", {"low": -1.0, "high": 1.0}),
    Case("Clip", "0 to 1", "y = Clip (x, low, high)", "RELU_0_TO_1", {"low": 0.0, "high": 1.0}),
    Case("Clip", "not fused", "c = Conv (x, w, b)\n y = Clip (c, low, high)", "CONV_2D RELU_N1_TO_1",
         {"w": weights(4, 3, 3, 3, scale=0.05), "b": weights(4), "low": -1.0, "high": 1.0}),
    Case("LeakyRelu", "plain", "y = LeakyRelu <alpha = 0.2> (x)", "LEAKY_RELU"),
    Case("Sigmoid", "plain", "y = Sigmoid (x)", "LOGISTIC"),
    Case("Sigmoid", "swish", "s = Sigmoid (x)\n y = Mul (x, s)", "LOGISTIC MUL"),
    Case("Tanh", "plain", "y = Tanh (x)", "TANH"),
    Case("HardSwish", "plain", "y = HardSwish (x)", "HARD_SWISH"),
    Case("Softmax", "matrix", "y = Softmax (x)", "SOFTMAX", inputs={"x": (1, 7)}),
    Case("Softmax", "three dimensions", "y = Softmax <axis = 2> (x)", "SOFTMAX", inputs={"x": (1, 4, 7)}),
    Case("Softmax", "channels", "y = Softmax <axis = 1> (x)", "SOFTMAX"),
    Case("Identity", "between", "t = Tanh (x)\n i = Identity (t)\n y = Relu (i)", "TANH RELU"),
    Case("Dropout", "between", "t = Tanh (x)\n i = Dropout (t)\n y = Relu (i)", "TANH RELU"),
)  # fmt: skip

CASES = (*CONV, *DENSE, *POOL, *ELEMENTWISE, *ACTIVATION, *SHAPE, *NORM, *DECOMPOSED)
