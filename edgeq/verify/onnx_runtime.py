"""Run an ONNX model in onnxruntime, as its users do: all optimizations on."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.progress import Progress, Silent

__all__ = ["run_onnx"]


def run_onnx(
    model: ir.Model, images: NDArray[np.uint8], *, progress: Progress | None = None, label: str = ""
) -> NDArray[np.float32]:
    """Run images one by one through a model of one input and one output, split over the cores.

    Args:
        model: batch 1, float32 in and out.
        images: uint8 [N, C, H, W]; the model gets (pixel - 128) / 128.
        progress, label: shown a sample at a time, if there is a label.

    Returns:
        float32 [N, ...].
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    progress = progress or Silent()
    count = len(images)
    with progress.task(label, count) if label else Silent().task("", count) as task:
        lock = threading.Lock()

        def part(indices: NDArray[np.intp]) -> list[NDArray[np.float32]]:
            rows = []
            for i in indices:
                pixels = (images[i : i + 1].astype(np.float32) - 128) / 128
                rows.append(session.run(None, {name: pixels})[0])
            with lock:
                task.advance(len(indices))
            return rows

        chunks = np.array_split(np.arange(count), max(1, count // 64))
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            parts = list(pool.map(part, chunks))
    return np.concatenate([row for rows in parts for row in rows])
