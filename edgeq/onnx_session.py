"""Open an ONNX model in onnxruntime from memory, its weights shared and not copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

__all__ = ["open_session"]

SHARED_BYTES = 1024  # smaller constants are copied: shapes and axes must be readable when the graph is loaded


def open_session(
    model: ir.Model,
    *,
    optimize: bool = False,
    threads: int = 0,
    change: Callable[[onnx.ModelProto], None] | None = None,
) -> Any:
    """A session of onnxruntime, on the CPU.

    Args:
        model: float or QDQ; not changed, and its arrays are kept alive by the session.
        optimize: let onnxruntime fuse and rearrange; otherwise it computes node by node as the graph says.
        threads: of one operation; 0 takes all cores.
        change: edits the graph that is opened, before it is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED  # the graph's own, so that values die early
    options.enable_cpu_mem_arena = False  # which grows by doubling and keeps what it has
    options.log_severity_level = 3
    proto, weights = _without_weights(model)
    if change is not None:
        change(proto)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return _Session(session, values)


class _Session:
    """A session and the arrays that it reads from."""

    def __init__(self, session: Any, values: list[Any]) -> None:
        self._session, self._values = session, values

    def run(self, outputs: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        results: list[Any] = self._session.run(outputs, feed)
        return results

    def get_inputs(self) -> list[Any]:
        inputs: list[Any] = self._session.get_inputs()
        return inputs


def _without_weights(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model with its large constants left to the session, and those constants."""
    light = model.clone()
    weights: dict[str, Any] = {}
    for name, value in light.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < SHARED_BYTES or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.INT8):
            continue
        weights[name] = np.ascontiguousarray(tensor.numpy())
        value.const_value = ir.ExternalTensor(
            "memory", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    return ir.to_proto(light), weights
