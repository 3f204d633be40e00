"""Cases of what normalization and transformers need, and of operations that are decomposed first."""

from __future__ import annotations

from int8_models import weights
from operation_case import Case

POSITIVE = "a = Mul (x, x)\n"
NORM = (
    Case("Gelu", "by the error function", "y = Gelu (x)", "GELU"),
    Case("Gelu", "by tanh", 'y = Gelu <approximate = "tanh"> (x)', "GELU", inputs={"x": (1, 5, 7)}),
    Case("Sqrt", "of squares", f"{POSITIVE} b = Add (a, c)\n y = Sqrt (b)", "MUL ADD SQRT", {"c": 0.5}),
    Case("Reciprocal", "of a root", f"{POSITIVE} b = Add (a, c)\n r = Sqrt (b)\n y = Reciprocal (r)", "MUL ADD RSQRT",
         {"c": 0.5}),
)  # fmt: skip

LAYER_NORM = "MEAN SUB MUL FULLY_CONNECTED RSQRT MUL"
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
         "MEAN SUB MUL RESHAPE FULLY_CONNECTED RSQRT RESHAPE MUL RESHAPE DEPTHWISE_CONV_2D RESHAPE",
         {"g": weights(5, 7), "b": weights(5, 7, seed=1)}, {"x": (1, 5, 7)}),
)  # fmt: skip
