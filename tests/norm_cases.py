"""Cases of what normalization and transformers need, and of operations that are decomposed first."""

from __future__ import annotations

from int8_models import weights
from operation_case import Case

POSITIVE = "a = Mul (x, x)\n"
NORM = (
    Case("Gelu", "by the error function", "y = Gelu (x)", "GELU"),
    Case("Gelu", "by tanh", 'y = Gelu <approximate = "tanh"> (x)', "GELU", inputs={"x": (1, 5, 7)}),
    Case("Gelu", "as torch writes it", "d = Div (x, r)\n e = Erf (d)\n a = Add (e, one)\n m = Mul (x, a)\n"
         "y = Mul (m, half)",
         "GELU", {"r": 2**0.5, "one": 1.0, "half": 0.5}),
    Case("Gelu", "half of x first", "h = Mul (half, x)\n d = Mul (r, x)\n e = Erf (d)\n a = Add (one, e)\n"
         "y = Mul (h, a)",
         "GELU", {"r": 0.5**0.5, "one": 1.0, "half": 0.5}, {"x": (1, 5, 7)}),
    Case("Gelu", "behind a convolution", "c = Conv (x, w)\n d = Div (c, r)\n e = Erf (d)\n a = Add (e, one)\n"
         "h = Mul (a, half)\n y = Mul (c, h)", "CONV_2D GELU",
         {"w": weights(4, 3, 2, 2), "r": 2**0.5, "one": 1.0, "half": 0.5}),
    Case("Gelu", "a chain with tanh", "p = Pow (x, three)\n c = Mul (k, p)\n s = Add (x, c)\n u = Mul (q, s)\n"
         "t = Tanh (u)\n a = Add (t, one)\n h = Mul (half, x)\n y = Mul (h, a)", "GELU",
         {"three": 3.0, "k": 0.044715, "q": 0.7978846, "one": 1.0, "half": 0.5}),
    Case("Pow", "by 2", "y = Pow (x, two)", "MUL", {"two": 2.0}),
    Case("Pow", "by a half", f"{POSITIVE} b = Add (a, c)\n y = Pow (b, h)", "MUL ADD SQRT", {"c": 0.5, "h": 0.5}),
    Case("Sqrt", "of squares", f"{POSITIVE} b = Add (a, c)\n y = Sqrt (b)", "MUL ADD SQRT", {"c": 0.5}),
    Case("Reciprocal", "of a root", f"{POSITIVE} b = Add (a, c)\n r = Sqrt (b)\n y = Reciprocal (r)",
         "MUL ADD CAST CAST GATHER", {"c": 0.5}),
)  # fmt: skip

LAYER_NORM = "MEAN SUB MUL FULLY_CONNECTED CAST CAST GATHER MUL"
DECOMPOSED = (
    Case("LayerNormalization", "tokens", "y = LayerNormalization (x, g, b)",
         f"{LAYER_NORM} RESHAPE DEPTHWISE_CONV_2D RESHAPE",
         {"g": weights(7), "b": weights(7, seed=1)}, {"x": (1, 5, 7)}),
    Case("LayerNormalization", "no bias", "y = LayerNormalization <epsilon = 0.01> (x, g)",
         f"{LAYER_NORM} RESHAPE DEPTHWISE_CONV_2D RESHAPE", {"g": weights(7)}, {"x": (1, 5, 7)}),
    Case("LayerNormalization", "channels last in an image",
         "t = Transpose <perm = [0, 2, 3, 1]> (x)\n n = LayerNormalization (t, g, b)\n"
         "y = Transpose <perm = [0, 3, 1, 2]> (n)",
         f"{LAYER_NORM} RESHAPE DEPTHWISE_CONV_2D RESHAPE", {"g": weights(24), "b": weights(24, seed=1)},
         {"x": (1, 24, 5, 7)}),
    Case("LayerNormalization", "of two axes", "y = LayerNormalization <axis = 1> (x, g, b)",
         "MEAN SUB MUL RESHAPE FULLY_CONNECTED CAST CAST GATHER RESHAPE MUL RESHAPE DEPTHWISE_CONV_2D RESHAPE",
         {"g": weights(5, 7), "b": weights(5, 7, seed=1)}, {"x": (1, 5, 7)}),
)  # fmt: skip
