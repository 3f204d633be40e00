"""Arithmetic, truth values and functions of one value."""

from __future__ import annotations

import numpy as np
from int8_models import Constant, weights
from operation_case import IMAGE, Case

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
    Case("Div", "by a number", "y = Div (x, c)", "MUL", {"c": -3.0}),
    Case(
        "Div",
        "by a number a channel",
        "y = Div (x, c)",
        "DEPTHWISE_CONV_2D",
        {"c": np.array([0.5, -30, 7], np.float32).reshape(3, 1, 1)},
    ),
    Case(
        "Div",
        "by a number a column",
        "y = Div (x, c)",
        "RESHAPE DEPTHWISE_CONV_2D RESHAPE",
        {"c": np.array([0.5, -30, 7, 1, 2], np.float32)},
        {"x": (1, 5)},
    ),
    Case("Div", "of a number", "t = Tanh (x)\n a = Exp (t)\n y = Div (c, a)", "TANH EXP CAST CAST GATHER", {"c": 2.0}),
    Case("Neg", "plain", "y = Neg (x)", "MUL"),
    Case("Max", "residual", "y = Max (x, z)", "MAXIMUM", inputs=TWO),
    Case("Max", "broadcast", "y = Max (x, z)", "MAXIMUM", inputs={"x": (1, 3, 6, 11), "z": (1, 3, 1, 1)}),
    Case("Max", "a number", "y = Max (x, c)", "MAXIMUM", {"c": 0.2}),
    Case("Max", "a grid of its own", "t = Tanh (x)\n y = Max (t, z)", "TANH QUANTIZE MAXIMUM", inputs=TWO),
    Case("Min", "residual", "y = Min (x, z)", "MINIMUM", inputs=TWO),
    Case("Min", "numbers a channel", "y = Min (c, x)", "MINIMUM", {"c": weights(3, 1, 1)}),
    Case("Mul", "matrix", "y = Mul (x, c)", "MUL", {"c": weights(1, 7)}, {"x": (1, 7)}),
)


STEEP = ("ThresholdedRelu", "Shrink", "Floor", "Ceil", "Round", "Sign")


def function(row: str) -> Case:
    return Case(row, "plain", f"y = {row} (x)", "CAST CAST GATHER", steep=row in STEEP)


WITH_CONV: dict[str, Constant] = {"w": weights(4, 3, 3, 3), "b": weights(4)}
ACTIVATION = (
    Case("Relu", "alone", "y = Relu (x)", "QUANTIZE"),
    Case("Relu", "fused", "c = Conv (x, w, b)\n y = Relu (c)", "CONV_2D", WITH_CONV),
    Case("Relu", "one of two readers", "c = Conv (x, w, b)\n y = Relu (c)\n z = Tanh (c)", "CONV_2D QUANTIZE TANH",
         WITH_CONV, outputs=("y", "z")),
    Case("Relu", "of an output", "c = Conv (x, w, b)\n y = Relu (c)", "CONV_2D QUANTIZE", WITH_CONV,
         outputs=("c", "y")),
    Case("Clip", "relu6 alone", "y = Clip (x, low, high)", "QUANTIZE", {"low": 0.0, "high": 6.0}),
    Case("Clip", "relu6 fused", "c = Conv (x, w, b)\n y = Clip (c, low, high)", "CONV_2D",
         {**WITH_CONV, "low": 0.0, "high": 6.0}),
    Case("Clip", "bounds as vectors", "y = Clip (x, low, high)", "QUANTIZE",
         {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}),
    Case("Clip", "relu", "y = Clip (x, low)", "QUANTIZE", {"low": 0.0}),
    Case("Clip", "-1 to 1", "y = Clip (x, low, high)", "QUANTIZE MINIMUM", {"low": -1.0, "high": 1.0}),
    Case("Clip", "0 to 1", "y = Clip (x, low, high)", "QUANTIZE", {"low": 0.0, "high": 1.0}),
    Case("Clip", "-1 to 1 fused", "c = Conv (x, w, b)\n y = Clip (c, low, high)", "CONV_2D",
         {"w": weights(4, 3, 3, 3, scale=0.05), "b": weights(4), "low": -1.0, "high": 1.0}),
    Case("LeakyRelu", "plain", "y = LeakyRelu <alpha = 0.2> (x)", "LEAKY_RELU"),
    Case("Sigmoid", "plain", "y = Sigmoid (x)", "LOGISTIC"),
    Case("Sigmoid", "swish", "s = Sigmoid (x)\n y = Mul (x, s)", "LOGISTIC MUL"),
    Case("Tanh", "plain", "y = Tanh (x)", "TANH"),
    Case("HardSwish", "plain", "y = HardSwish (x)", "HARD_SWISH"),
    Case("Clip", "any bounds fused", "c = Conv (x, w, b)\n y = Clip (c, low, high)", "CONV_2D",
         {**WITH_CONV, "low": -2.0, "high": 3.0}),
    Case("Clip", "any bounds", "y = Clip (x, low, high)", "QUANTIZE", {"low": -0.6, "high": 0.9}),
    Case("Clip", "from below", "y = Clip (x, low)", "QUANTIZE MAXIMUM", {"low": 0.3}),
    Case("Clip", "of a grid shared with more", "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)\n r = Clip (c, low, high)\n"
         " y = Concat <axis = 1> (r, x)", "CONV_2D MAXIMUM MINIMUM CONCATENATION",
         {**WITH_CONV, "low": -0.2, "high": 0.3}),
    Case("PRelu", "a slope a channel", "y = PRelu (x, slope)", "MUL QUANTIZE MAXIMUM",
         {"slope": weights(3, 1, 1, scale=0.2)}),
    Case("PRelu", "one slope", "y = PRelu (x, slope)", "MUL QUANTIZE MAXIMUM", {"slope": np.array([0.25], np.float32)}),
    Case("PRelu", "slopes above one", "y = PRelu (x, slope)", "MUL QUANTIZE MINIMUM",
         {"slope": 1 + np.abs(weights(3, 1, 1))}),
    Case("PRelu", "slopes below and above one", "y = PRelu (x, slope)", "PRELU",
         {"slope": np.array([0.5, 2, -1], np.float32).reshape(3, 1, 1)}),
    Case("HardSigmoid", "of torch", "y = HardSigmoid <alpha = 0.16666667> (x)", "ADD MUL"),
    Case("HardSigmoid", "of large numbers", "a = Mul (x, c)\n y = HardSigmoid <alpha = 0.16666667> (a)",
         "MUL CAST CAST GATHER", {"c": 5000.0}, steep=True),
    Case("HardSigmoid", "of ONNX", "y = HardSigmoid (x)", "CAST CAST GATHER"),
    Case("Sigmoid", "hard gate", "s = HardSigmoid <alpha = 0.16666667> (x)\n t = Sigmoid (s)\n y = Mul (x, t)",
         "ADD MUL LOGISTIC MUL"),
    Case("Exp", "plain", "y = Exp (x)", "EXP"),
    Case("Log", "plain", "t = Tanh (x)\n a = Exp (t)\n y = Log (a)", "TANH EXP LOG"),
    Case("Sqrt", "plain", "a = Abs (x)\n y = Sqrt (a)", "MUL MUL SQRT", steep=True),
    Case("Sqrt", "of a grid with negative codes", "a = Sigmoid (x)\n b = Sub (a, c)\n d = Relu (b)\n"
         " e = Concat <axis = 1> (d, b)\n f = Abs (e)\n y = Sqrt (f)",
         "LOGISTIC SUB MAXIMUM CONCATENATION MUL MUL SQRT", {"c": 0.3}, steep=True),
    Case("Abs", "plain", "y = Abs (x)", "MUL MUL"),
    *(function(row) for row in ("Erf", "Elu", "Celu", "Selu", "Softplus", "Softsign", "Mish",
                                                  "ThresholdedRelu", "Shrink", "Floor", "Ceil", "Round", "Sign",
                                                  "Sin", "Cos", "Atan")),
    Case("Elu", "alpha", "y = Elu <alpha = 0.3> (x)", "CAST CAST GATHER"),
    Case("Elu", "of a matrix", "y = Elu (x)", "CAST CAST GATHER", inputs={"x": (1, 7)}),
    Case("Reciprocal", "plain", "t = Tanh (x)\n a = Exp (t)\n y = Reciprocal (a)", "TANH EXP CAST CAST GATHER"),
    Case("Pow", "by another number", "a = Abs (x)\n y = Pow (a, c)", "MUL MUL CAST CAST GATHER", {"c": 1.7}),
    Case("Identity", "between", "t = Tanh (x)\n i = Identity (t)\n y = Relu (i)", "TANH QUANTIZE"),
    Case("Dropout", "between", "t = Tanh (x)\n i = Dropout (t)\n y = Relu (i)", "TANH QUANTIZE"),
    Case("Softmax", "matrix", "y = Softmax (x)", "SOFTMAX", inputs={"x": (1, 7)}),
    Case("Softmax", "three dimensions", "y = Softmax <axis = 2> (x)", "SOFTMAX", inputs={"x": (1, 4, 7)}),
    Case("Softmax", "channels", "y = Softmax <axis = 1> (x)", "SOFTMAX"),
)  # fmt: skip

BOUNDS = np.array([0.31, -0.2, -9.0], np.float32).reshape(3, 1, 1)
TRUTH = np.arange(66).reshape(6, 11) % 3 == 0
SELECT = (
    *(Case(row, "a number", f"g = {row} (x, c)\n n = Neg (x)\n y = Where (g, x, n)", f"{kind} MUL SELECT_V2",
           {"c": 0.31}, steep=True)
      for row, kind in (("Greater", "GREATER_EQUAL"), ("GreaterOrEqual", "GREATER_EQUAL"), ("Less", "LESS_EQUAL"),
                        ("LessOrEqual", "LESS_EQUAL"))),
    *(Case(row, about, f"g = {row} (x, c)\n y = Where (g, p, n)", "DEPTHWISE_CONV_2D", {"c": c, "p": p, "n": n}, inputs,
           steep=True)
      for row, about, c, p, n, inputs in (
          ("GreaterOrEqual", "a sign", 0.31, 1.0, -1.0, IMAGE),
          ("GreaterOrEqual", "a sign a channel", BOUNDS, 1.0, -1.0, IMAGE),
          ("Greater", "a step a channel, one out of reach", -BOUNDS, 1.0, 0.0, IMAGE),
          ("Less", "a step down a channel", BOUNDS, 6.0, 0.0, IMAGE),
          ("LessOrEqual", "a sign, falling", -0.31, -1.0, 1.0, IMAGE),
      )),
    Case("GreaterOrEqual", "a sign, the number first", "g = GreaterOrEqual (c, x)\n y = Where (g, p, n)",
         "DEPTHWISE_CONV_2D", {"c": BOUNDS, "p": 1.0, "n": -1.0}, steep=True),
    Case("GreaterOrEqual", "no ends of a grid", "g = GreaterOrEqual (x, c)\n w = Where (g, p, n)\n y = Add (w, x)",
         "GREATER_EQUAL SELECT_V2 ADD", {"c": 0.31, "p": 0.75, "n": 0.25}, steep=True),
    Case("GreaterOrEqual", "a sign of three dimensions", "d = Conv (x, w)\n g = GreaterOrEqual (d, c)\n"
         " y = Where (g, p, n)", "RESHAPE TRANSPOSE CONV_2D DEPTHWISE_CONV_2D RESHAPE TRANSPOSE",
         {"w": weights(4, 5, 3), "c": weights(4, 1), "p": 1.0, "n": -1.0}, {"x": (1, 5, 7)}, steep=True),
    Case("GreaterOrEqual", "a sign of three dimensions, channels not last", "g = GreaterOrEqual (x, c)\n"
         " y = Where (g, p, n)", "GREATER_EQUAL SELECT_V2",
         {"c": 0.31, "p": 1.0, "n": -1.0}, {"x": (1, 5, 7)}, steep=True),
    Case("GreaterOrEqual", "a sign of a pooled image", "m = GlobalAveragePool (x)\n f = Flatten (m)\n"
         " g = GreaterOrEqual (f, c)\n s = Where (g, p, n)\n y = MatMul (s, w)",
         "MEAN DEPTHWISE_CONV_2D RESHAPE FULLY_CONNECTED", {"c": weights(3), "p": 1.0, "n": -1.0, "w": weights(3, 4)},
         steep=True),
    Case("GreaterOrEqual", "a sign of a matrix", "g = GreaterOrEqual (x, c)\n y = Where (g, p, n)",
         "RESHAPE DEPTHWISE_CONV_2D RESHAPE", {"c": 0.31, "p": 1.0, "n": -1.0}, {"x": (1, 7)}, steep=True),
    Case("GreaterOrEqual", "two steps of a comparison", "g = GreaterOrEqual (x, c)\n w = Where (g, p, n)\n"
         " v = Where (g, n, p)\n y = Sub (w, v)", "GREATER_EQUAL SELECT_V2 SELECT_V2 SUB",
         {"c": 0.31, "p": 1.0, "n": -1.0}, steep=True),
    Case("Greater", "two", "g = Greater (x, z)\n y = Where (g, x, z)", "GREATER SELECT_V2", inputs=TWO),
    Case("Greater", "a number first", "g = Greater (c, x)\n y = Where (g, c, x)", "LESS_EQUAL SELECT_V2", {"c": 0.31}),
    Case("Greater", "never", "g = Greater (x, c)\n y = Where (g, c, x)", "GREATER SELECT_V2", {"c": 50.0}),
    Case("Greater", "two of different grids", "t = Tanh (x)\n g = Greater (t, z)\n y = Where (g, x, z)",
         "TANH CAST CAST GATHER CAST LESS SELECT_V2", inputs=TWO, steep=True),
    *(Case(row, "a number a channel", f"g = {row} (x, c)\n n = Neg (x)\n y = Where (g, x, n)",
           f"{kind} MUL SELECT_V2", {"c": BOUNDS}, steep=True)
      for row, kind in (("Greater", "GREATER_EQUAL"), ("GreaterOrEqual", "GREATER_EQUAL"), ("Less", "LESS"),
                        ("LessOrEqual", "LESS"))),
    Case("GreaterOrEqual", "a number a channel, first", "g = GreaterOrEqual (c, x)\n n = Neg (x)\n y = Where (g, x, n)",
         "LESS MUL SELECT_V2", {"c": BOUNDS}, steep=True),
    Case("GreaterOrEqual", "a number a channel, one out of reach", "g = GreaterOrEqual (x, c)\n n = Neg (x)\n"
         " y = Where (g, x, n)", "CAST GREATER_EQUAL MUL SELECT_V2", {"c": -BOUNDS},
         steep=True),
    Case("Greater", "on a scale of one and more", "a = Mul (x, c)\n g = Greater (a, d)\n y = Where (g, a, d)",
         "MUL CAST GREATER_EQUAL SELECT_V2", {"c": 100.0, "d": 31.0}),
    Case("Greater", "on a fine scale", "a = Mul (x, c)\n g = Greater (a, d)\n y = Where (g, a, d)",
         "MUL CAST GREATER_EQUAL SELECT_V2", {"c": 0.001, "d": 0.0003}),
    Case("GreaterOrEqual", "two", "g = GreaterOrEqual (x, z)\n y = Where (g, x, z)", "GREATER_EQUAL SELECT_V2",
         inputs=TWO),
    Case("Less", "two", "g = Less (x, z)\n y = Where (g, x, z)", "LESS SELECT_V2", inputs=TWO),
    Case("LessOrEqual", "two", "g = LessOrEqual (x, z)\n y = Where (g, x, z)", "LESS_EQUAL SELECT_V2", inputs=TWO),
    Case("Equal", "zero", "r = Relu (x)\n g = Equal (r, c)\n y = Where (g, z, r)",
         "QUANTIZE MAXIMUM EQUAL SELECT_V2",
         {"c": 0.0}, TWO, steep=True),
    Case("And", "and not or", "g = Greater (x, c)\n l = Less (x, d)\n a = And (g, l)\n n = Not (a)\n o = Or (n, l)\n"
         " y = Where (o, x, d)", "GREATER_EQUAL LESS_EQUAL LOGICAL_AND LOGICAL_NOT LOGICAL_OR SELECT_V2",
         {"c": -0.5, "d": 0.5}),
    Case("Or", "two", "g = Greater (x, c)\n l = Less (x, d)\n a = Or (g, l)\n y = Where (a, x, d)",
         "GREATER_EQUAL LESS_EQUAL LOGICAL_OR SELECT_V2", {"c": 0.5, "d": -0.5}, steep=True),
    Case("Not", "one", "g = Greater (x, c)\n a = Not (g)\n y = Where (a, x, c)",
         "GREATER_EQUAL LOGICAL_NOT SELECT_V2", {"c": 0.5}),
    Case("Where", "a constant condition", "y = Where (c, x, z)", "SELECT_V2", {"c": TRUTH}, TWO),
    Case("Cast", "a mask", "g = Greater (x, c)\n m = Cast <to = 1> (g)\n y = Mul (x, m)",
         "GREATER_EQUAL CAST QUANTIZE MUL", {"c": 0.5}, steep=True),
    Case("Cast", "an index", "i = ArgMax <axis = 1> (x)\n y = Cast <to = 6> (i)", "ARG_MAX CAST RESHAPE",
         outputs=("int32 y",)),
)  # fmt: skip

REDUCE = (
    Case("GlobalAveragePool", "plain", "y = GlobalAveragePool (x)", "MEAN"),
    Case("GlobalAveragePool", "of a sequence", "y = GlobalAveragePool (x)", "MEAN", inputs={"x": (1, 5, 7)}),
    Case("GlobalMaxPool", "plain", "y = GlobalMaxPool (x)", "REDUCE_MAX"),
    Case("ReduceMean", "pixels kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [2, 3]}),
    Case("ReduceMean", "pixels dropped", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN", {"axes": [-1, -2]}),
    Case("ReduceMean", "channels kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [1]}),
    Case("ReduceMean", "channels dropped", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN", {"axes": [1]}),
    Case("ReduceMean", "rows dropped", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN TRANSPOSE", {"axes": [2]}),
    Case("ReduceMean", "rows kept", "y = ReduceMean (x, axes)", "MEAN", {"axes": [2]}),
    Case("ReduceMean", "of three dimensions", "y = ReduceMean <keepdims = 0> (x, axes)", "MEAN", {"axes": [1]},
         {"x": (1, 5, 7)}),
    Case("ReduceMean", "all axes", "y = ReduceMean (x)", "MEAN"),
    Case("ReduceMean", "all axes by an empty list", "y = ReduceMean (x, axes)", "MEAN", {"axes": []}),
    Case("ReduceSum", "pixels", "y = ReduceSum <keepdims = 0> (x, axes)", "MEAN MUL", {"axes": [2, 3]}),
    Case("ReduceSum", "channels", "y = ReduceSum (x, axes)", "MEAN MUL", {"axes": [1]}),
    Case("ReduceMax", "channels", "y = ReduceMax (x, axes)", "REDUCE_MAX", {"axes": [1]}),
    Case("ReduceMax", "pixels dropped", "y = ReduceMax <keepdims = 0> (x, axes)", "REDUCE_MAX", {"axes": [2, 3]}),
    Case("ReduceMin", "columns", "y = ReduceMin <keepdims = 0> (x, axes)", "REDUCE_MIN TRANSPOSE", {"axes": [3]}),
    Case("ArgMax", "channels", "y = ArgMax <axis = 1, keepdims = 0> (x)", "ARG_MAX", outputs=("int64 y",)),
    Case("ArgMax", "channels kept", "y = ArgMax <axis = 1> (x)", "ARG_MAX RESHAPE", outputs=("int64 y",)),
    Case("ArgMax", "matrix", "y = ArgMax <axis = -1> (x)", "ARG_MAX RESHAPE", inputs={"x": (1, 7)},
         outputs=("int64 y",)),
    Case("ArgMax", "among dimensions of 1", "r = Reshape (x, s)\n t = Transpose <perm = [0, 2, 1]> (r)\n"
         " y = ArgMax <axis = 2, keepdims = 0> (t)", "ARG_MAX RESHAPE", {"s": [1, 7, 1]}, {"x": (1, 7)},
         ("int64 y",)),
    Case("ReduceMax", "of size 1", "m = ReduceMean (x, axes)\n y = ReduceMax <keepdims = 0> (m, axes)",
         "MEAN RESHAPE TRANSPOSE", {"axes": [2]}),
    Case("ArgMin", "rows", "y = ArgMin <axis = 2, keepdims = 0> (x)", "ARG_MIN TRANSPOSE", outputs=("int64 y",)),
)  # fmt: skip
