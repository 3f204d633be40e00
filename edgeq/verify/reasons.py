"""Why XNNPACK leaves an operation to TFLite's own kernels."""

from __future__ import annotations

from edgeq.tflite.model import Graph, Operator

__all__ = ["refusal_reason"]

TABLE_LOOKUP = ("CAST", "GATHER", "SELECT_V2", "ARG_MAX", "ARG_MIN", "EXP", "LOG", "SQRT", "ABS")


def refusal_reason(graph: Graph, operator: Operator) -> str:
    """One clause on why XNNPACK does not take this operation.

    Source: the checks of tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc, which has no way of telling them.
    """
    source = graph.tensors[operator.inputs[0]]
    result = graph.tensors[operator.outputs[0]]
    if operator.kind == "QUANTIZE" and {source.dtype, result.dtype} == {"int8", "uint8"}:
        return "XNNPACK requantizes within one type only; this changes uint8 to int8 or back"
    if operator.kind == "SOFTMAX":
        return f"XNNPACK computes softmax in float only; this one is {source.dtype}"
    if operator.kind in TABLE_LOOKUP:
        return f"XNNPACK has no {operator.kind}"
    if len(result.shape) > 6:
        return f"XNNPACK takes at most 6 dimensions; this has {len(result.shape)}"
    if operator.kind in ("AVERAGE_POOL_2D", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH", "RELU", "RELU6"):
        return f"XNNPACK of this runtime has no {source.dtype} {operator.kind}"
    return f"XNNPACK of this runtime does not take {operator.kind} with these shapes and types"
