"""The version of an operation by what it computes in, and the operations that no runtime computes in a type.

Source: LiteRT, tflite/tools/versioning/op_version.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.tflite.model import Tensor

__all__ = ["MISSING", "no_int2_kernel", "no_int4_kernel", "operator_version"]

DATA_INPUT = {"SPLIT": 1, "TRANSPOSE_CONV": 2, "SELECT_V2": 1}  # where it is not the first
FLOAT = {  # of float32, where it is not 1: the versions that stay
    "CONV_2D": (6,),  # with groups
    "DEQUANTIZE": (2, 3),
    "FULLY_CONNECTED": (5,),  # that keeps dimensions
    "RESIZE_BILINEAR": (3,),  # of half pixels
    "RESIZE_NEAREST_NEIGHBOR": (3,),
    "TRANSPOSE_CONV": (3,),  # with a bias
}
INT16 = {
    "AVERAGE_POOL_2D": 3,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "FULLY_CONNECTED": 7,
    "GATHER": 4,
    "MAX_POOL_2D": 3,
    "MUL": 4,
    "SPLIT": 4,
    "TRANSPOSE": 5,
}
HYBRID = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "FULLY_CONNECTED": 12}  # int8 weights with scales a channel
INT4 = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7, "FULLY_CONNECTED": 10}
INT2 = {"FULLY_CONNECTED": 14}

MISSING = {
    "int16": {
        "ARG_MAX": "LiteRT's kernel takes no int16",
        "ARG_MIN": "LiteRT's kernel takes no int16",
        "DEPTH_TO_SPACE": "LiteRT's kernel takes no int16",
        "HARD_SWISH": "LiteRT's kernel takes no int16",
        "LOG": "LiteRT's int16 kernel is off by hundreds of codes",
        "PRELU": "LiteRT's int16 kernel gives zeros",
        "RESIZE_BILINEAR": "LiteRT's int16 kernel is off by hundreds of codes",
        "SPACE_TO_DEPTH": "LiteRT's kernel takes no int16",
    }
}
"""By type, the operations without a kernel that computes what ONNX says, and why (LiteRT 2.3, measured)."""

NO_INT4 = {
    ("DEPTHWISE_CONV_2D", "int16"): "LiteRT's kernel for int16 reads weights of 4 bits as if they were bytes",
    ("DEPTHWISE_CONV_2D", "float32"): "LiteRT's depthwise kernel takes no weights of 4 bits beside floats",
    **{
        ("TRANSPOSE_CONV", dtype): "LiteRT's kernel takes no weights of 4 bits"
        for dtype in ("int8", "int16", "float32")
    },
}
"""By operation and type, why weights of 4 bits have no kernel (LiteRT 2.3, measured)."""


def no_int4_kernel(kind: str, dtype: str) -> str | None:
    """Why an operation that computes in a type takes no weights of 4 bits; None if it does."""
    return NO_INT4.get((kind, dtype))


def no_int2_kernel(kind: str) -> str | None:
    """Why an operation takes no weights of 2 bits (LiteRT 2.3, measured); None if it does."""
    return None if kind in INT2 else f"LiteRT's {kind} takes no weights of 2 bits"


def operator_version(kind: str, version: int, inputs: Sequence[Tensor]) -> int:
    """The version that an operation with these inputs has.

    Args:
        kind, version: the builtin, and its version with int8 operands.
        inputs: its tensors.
    """
    dtype = inputs[DATA_INPUT.get(kind, 0)].dtype
    weights = inputs[1].dtype if len(inputs) > 1 else ""
    if weights == "int2":
        return INT2[kind]
    if dtype == "float32" and weights in ("int8", "int4"):
        return HYBRID.get(kind, version)
    if dtype == "float32":
        return version if version in FLOAT.get(kind, ()) else 1
    if dtype == "int16":
        return INT16.get(kind, version)
    return INT4.get(kind, version) if weights == "int4" else version
