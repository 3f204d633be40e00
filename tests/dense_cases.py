"""Cases of the dense layers and products."""

from __future__ import annotations

import numpy as np
from int8_models import weights
from operation_case import Case

DENSE = (
    Case("Gemm", "torch", "y = Gemm <transB = 1> (x, w, b)", "FULLY_CONNECTED",
         {"w": weights(5, 7), "b": weights(5)}, {"x": (1, 7)}),
    Case("Gemm", "not transposed, no bias", "y = Gemm (x, w)", "FULLY_CONNECTED", {"w": weights(7, 5)}, {"x": (1, 7)}),
    Case("Gemm", "scalar bias", "y = Gemm <transB = 1> (x, w, b)", "FULLY_CONNECTED",
         {"w": weights(5, 7), "b": np.array([0.7], np.float32)}, {"x": (1, 7)}),
    Case("MatMul", "alone", "y = MatMul (x, w)", "FULLY_CONNECTED", {"w": weights(7, 5)}, {"x": (1, 7)}),
    Case("MatMul", "and Add", "m = MatMul (x, w)\n y = Add (m, b)", "FULLY_CONNECTED",
         {"w": weights(7, 5), "b": weights(5)}, {"x": (1, 7)}),
    Case("MatMul", "of three dimensions", "m = MatMul (x, w)\n y = Add (m, b)", "RESHAPE FULLY_CONNECTED RESHAPE",
         {"w": weights(7, 5), "b": weights(5)}, {"x": (1, 4, 7)}),
    Case("MatMul", "of an image's columns", "y = MatMul (x, w)", "TRANSPOSE RESHAPE FULLY_CONNECTED RESHAPE TRANSPOSE",
         {"w": weights(11, 5)}, {"x": (1, 3, 6, 11)}),
    Case("MatMul", "tokens of an image", "r = Reshape (x, s)\n t = Transpose <perm = [0, 2, 1]> (r)\n"
         "y = MatMul (t, w)", "RESHAPE FULLY_CONNECTED RESHAPE",
         {"s": [1, 3, 66], "w": weights(3, 5)}, {"x": (1, 3, 6, 11)}),
    Case("MatMul", "two activations", "y = MatMul (x, z)", "BATCH_MATMUL", inputs={"x": (1, 4, 7), "z": (1, 7, 3)}),
    Case("MatMul", "batches", "a = Reshape (x, s)\n b = Reshape (z, u)\n y = MatMul (a, b)",
         "RESHAPE RESHAPE BATCH_MATMUL", {"s": [2, 4, 7], "u": [2, 7, 3]}, {"x": (1, 56), "z": (1, 42)}),
    Case("MatMul", "second transposed", "a = Reshape (x, s)\n b = Reshape (z, u)\n"
         "t = Transpose <perm = [0, 2, 1]> (b)\n y = MatMul (a, t)",
         "RESHAPE RESHAPE BATCH_MATMUL", {"s": [2, 4, 7], "u": [2, 3, 7]}, {"x": (1, 56), "z": (1, 42)}),
    Case("MatMul", "first transposed", "t = Transpose <perm = [0, 2, 1]> (x)\n y = MatMul (t, z)", "BATCH_MATMUL",
         inputs={"x": (1, 7, 4), "z": (1, 7, 3)}),
    Case("MatMul", "one batch for many", "a = Reshape (x, s)\n y = MatMul (a, z)", "RESHAPE BATCH_MATMUL",
         {"s": [2, 4, 7]}, {"x": (1, 56), "z": (1, 7, 3)}),
    Case("MatMul", "heads", "a = Reshape (x, s)\n q = Transpose <perm = [0, 2, 1, 3]> (a)\n b = Reshape (z, s)\n"
         "k = Transpose <perm = [0, 2, 3, 1]> (b)\n m = MatMul (q, k)\n p = Softmax (m)\n v = MatMul (p, q)\n"
         "o = Transpose <perm = [0, 2, 1, 3]> (v)\n y = Reshape (o, u)",
         "RESHAPE TRANSPOSE RESHAPE TRANSPOSE BATCH_MATMUL SOFTMAX BATCH_MATMUL TRANSPOSE RESHAPE",
         {"s": [1, 5, 2, 7], "u": [1, 5, 14]}, {"x": (1, 5, 14), "z": (1, 5, 14)}),
    Case("MatMul", "a batch of constants", "a = Reshape (x, s)\n y = MatMul (a, w)", "RESHAPE BATCH_MATMUL",
         {"w": weights(3, 11, 5), "s": [3, 4, 11]}, {"x": (1, 132)}),
    Case("Gemm", "first transposed", "a = Reshape (x, s)\n y = Gemm <transA = 1, transB = 1> (a, w)",
         "RESHAPE TRANSPOSE FULLY_CONNECTED", {"w": weights(5, 7), "s": [7, 2]}, {"x": (1, 14)}),
)  # fmt: skip
