"""The smallest and largest value of every activation: the network runs with reductions beside it, so that nothing but
two numbers an activation is kept and no file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.onnx_session import open_session

__all__ = ["minmax_ranges"]

KINDS = ("ReduceMin", "ReduceMax")


def minmax_ranges(
    model: ir.Model, samples: Mapping[str, NDArray[np.float32]], advance: Callable[[int], None]
) -> dict[str, tuple[float, float]]:
    """Run samples one by one through a float model of batch 1.

    Args:
        model: float ONNX, not changed.
        samples: one float32 array an input, samples first.
        advance: called with 1 after each sample.

    Returns:
        (low, high) by value name, of all that the nodes compute in float32; NaN where a value is NaN.
    """
    names = [
        str(value.name)
        for node in model.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT
    ]
    if not names:  # a network of indices alone
        return {}
    session = open_session(model, change=partial(_add_reductions, names))
    results = [f"{name}/{kind}" for kind in KINDS for name in names]
    low, high = np.full(len(names), np.inf, np.float32), np.full(len(names), -np.inf, np.float32)
    for i in range(len(next(iter(samples.values())))):
        feed = {name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()}
        least, most = np.split(np.array(session.run(results, feed), np.float32), 2)
        low, high = np.minimum(low, least), np.maximum(high, most)  # NaN stays
        advance(1)
    return dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def _add_reductions(names: list[str], proto: onnx.ModelProto) -> None:
    nodes, wanted = list(proto.graph.node), set(names)
    del proto.graph.output[:], proto.graph.node[:]
    for node in nodes:
        proto.graph.node.append(node)
        for name in wanted.intersection(node.output):  # at once, so that the value need not be kept
            for kind in KINDS:
                result = f"{name}/{kind}"
                proto.graph.node.append(onnx.helper.make_node(kind, [name], [result], keepdims=0))
                proto.graph.output.append(onnx.helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, []))
