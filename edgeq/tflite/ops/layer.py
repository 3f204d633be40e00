"""The constants of a layer with weights: its filters as they are stored, and its bias as the kernel adds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import ExportError
from edgeq.tflite.lower import Lowering
from edgeq.tflite.model import FLOAT, Quantization
from edgeq.tflite.qdq_values import Weight, node_name, read_constant, read_real_constant, read_weight
from edgeq.tflite.versions import no_int2_kernel, no_int4_kernel

__all__ = ["add_bias", "add_filters"]

INT32_MAX = 2**31 - 1
INT2_LIMITS = (-2, 1)


def add_filters(low: Lowering, node: ir.Node, kind: str, weight: Weight, codes: NDArray[Any], axis: int) -> int:
    """The tensor that a kernel reads a layer's weights from.

    Args:
        low, node: where and for whom.
        kind: the TFLite operation.
        weight: as ONNX has it; its scales are of the outputs.
        codes: its integers or numbers in the kernel's layout.
        axis: of the outputs in that layout.

    Returns:
        Codes on their grid; or float32, behind a DEQUANTIZE where float16 is stored.

    Raises:
        ExportError: the kernel has no such weights; names the node.
    """
    codes = np.ascontiguousarray(codes)
    if weight.dtype == "float32":
        return low.add_constant(weight.name, codes)
    if weight.dtype == "float16":
        stored = low.add_constant(weight.name, codes)
        result = low.add_activation(f"{weight.name}/float", codes.shape, FLOAT)
        low.convert(stored, result)
        return result
    if weight.dtype not in ("int8", "int4"):
        raise ExportError("a weight has an unknown type", where=node_name(node), got=weight.dtype, wanted="int8")
    grid = Quantization.per_channel(weight.scale, axis)
    if weight.dtype == "int4":
        why = no_int4_kernel(kind, low.dtype)
        ternary = bool(np.all((codes >= INT2_LIMITS[0]) & (codes <= INT2_LIMITS[1])))
        if why is not None:
            low.notes.append(f"{weight.name} is stored in int8: {why}")
        elif ternary and no_int2_kernel(kind) is None:
            grid = replace(grid, dtype="int2")
        else:
            grid = replace(grid, dtype="int4")
            if ternary:
                low.notes.append(f"{weight.name} is stored in 4 bits: {no_int2_kernel(kind)}")
    return low.add_constant(weight.name, codes, grid)


def add_bias(
    low: Lowering, node: ir.Node, source: int, weight: Weight, outputs: int, *, bias: ir.Value | None = None
) -> int:
    """The bias: float32 beside floats, else int32 (int64 beside int16) at input scale x weight scale. A stored one
    at that scale is kept to the bit, another re-expressed. It is the node's third input where no other is given.

    Raises:
        ExportError: a value does not fit int32; names the channel.
    """
    stem = weight.name.removesuffix(".weight")
    if bias is None and len(node.inputs) > 2:
        bias = node.inputs[2]
    if low.dtype == "float32":
        numbers = np.zeros(1) if bias is None else read_real_constant(bias, node).ravel()
        return low.add_constant(f"{stem}.bias", np.broadcast_to(numbers, (outputs,)).astype(np.float32))
    scale = low.grid(source).scale[0] * np.broadcast_to(weight.scale, (outputs,))
    codes = _bias_codes(node, bias, scale, stem)
    grid = Quantization.per_channel(scale if weight.scale.size > 1 else scale[:1], 0)
    wide = codes.astype(np.int64) if low.dtype == "int16" else codes
    return low.add_constant(f"{stem}.bias", wide, grid)


def _bias_codes(node: ir.Node, value: ir.Value | None, scale: NDArray[np.float32], stem: str) -> NDArray[np.int32]:
    if value is None:
        return np.zeros(scale.shape, np.int32)
    if value.const_value is not None:  # a float bias
        real = read_constant(value, node).astype(np.float64).ravel()
    else:
        stored = read_weight(value, node)
        if stored.codes.dtype == np.int32 and np.allclose(stored.scale, scale, rtol=1e-6, atol=0):
            return np.ascontiguousarray(stored.codes.ravel())
        real = stored.codes.ravel().astype(np.float64) * stored.scale
    codes = np.rint(np.broadcast_to(real, scale.shape) / scale.astype(np.float64))
    bad = np.flatnonzero(~(np.abs(codes) <= INT32_MAX))
    if bad.size:
        raise ExportError(
            f"the bias of channel {bad[0]} does not fit int32",
            where=f"layer {stem}",
            got=f"{codes[bad[0]]:.3g}",
            wanted="at most 2^31 - 1",
            remedy="prune the channel, or put weight decay on gamma: its weights are almost zero",
        )
    return codes.astype(np.int32)
