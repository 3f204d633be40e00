"""Run a .tflite file in LiteRT, with XNNPACK (its default) or with its reference kernels."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import FormatError
from edgeq.progress import Progress, Silent

__all__ = ["Kernels", "delegated_operators", "load", "run", "run_all_tensors"]

Kernels = Literal["xnnpack", "reference"]
_CREATING = threading.Lock()


def load(content: bytes, kernels: Kernels = "xnnpack", *, threads: int = 1, keep_tensors: bool = False) -> Any:
    """An interpreter with its tensors allocated.

    Args:
        content: a .tflite file that :func:`edgeq.tflite.read.read_graph` accepts.
        kernels: ``xnnpack`` or ``reference``.
        threads: of the interpreter.
        keep_tensors: whether intermediate tensors can be read after a run (reference kernels only).

    Raises:
        FormatError: LiteRT refuses the file; the message is LiteRT's.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = (OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    resolvers = reference if kernels == "reference" else (OpResolverType.AUTO,)
    with _CREATING, _without_notices():
        for resolver in resolvers:
            try:
                interpreter = Interpreter(
                    model_content=content,
                    num_threads=threads,
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=keep_tensors,
                )
                interpreter.allocate_tensors()
                return interpreter
            except (ValueError, RuntimeError) as error:  # ELU, CEIL and ROUND have optimized kernels only
                if resolver is not resolvers[-1] and "Didn't find op" in str(error):
                    continue
                raise FormatError("LiteRT refuses the file", got=str(error).replace("\n", " ")[:300]) from error
    raise AssertionError("one resolver at least was tried")


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """LiteRT writes "INFO: Created ... delegate" to the C library's stderr; anything else it writes is passed on."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as sink:
        sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            for line in sink.read().splitlines():
                if not line.startswith(b"INFO:"):
                    os.write(2, line + b"\n")


def run(
    content: bytes,
    inputs: Sequence[NDArray[Any]],
    kernels: Kernels = "xnnpack",
    *,
    progress: Progress | None = None,
    label: str = "",
    workers: int = 0,
) -> list[NDArray[Any]]:
    """Run samples one by one, split over as many interpreters as there are cores.

    Args:
        content: the file.
        inputs: an array an input of the file, samples first: [N, ...] for a tensor [1, ...].
        kernels: which.
        progress, label: shown a sample at a time, if there is a label.
        workers: interpreters; 0 takes one a core.

    Returns:
        An array an output, [N, ...].
    """
    count = len(inputs[0])
    workers = min(workers or os.cpu_count() or 1, max(count, 1))
    bounds = np.linspace(0, count, workers + 1).astype(int)
    progress = progress or Silent()
    with progress.task(label, count) if label else Silent().task("", count) as task:
        lock = threading.Lock()

        def part(start: int, end: int) -> list[list[NDArray[Any]]]:
            interpreter = load(content, kernels)
            slots = [detail["index"] for detail in interpreter.get_input_details()]
            results = [detail["index"] for detail in interpreter.get_output_details()]
            rows = []
            for i in range(start, end):
                for slot, array in zip(slots, inputs, strict=True):
                    interpreter.set_tensor(slot, array[i : i + 1])
                interpreter.invoke()
                rows.append([interpreter.get_tensor(index) for index in results])
                if (i - start) % 16 == 15 or i == end - 1:
                    with lock:
                        task.advance((i - start) % 16 + 1)
            return rows

        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(part, bounds[:-1], bounds[1:]))
    rows = [row for rows in parts for row in rows]
    return [np.concatenate([row[i] for row in rows]) for i in range(len(rows[0]))]


def run_all_tensors(content: bytes, inputs: Sequence[NDArray[Any]]) -> dict[int, list[NDArray[Any]]]:
    """Run samples through the reference kernels and keep what every operation writes, by tensor index and sample."""
    interpreter = load(content, "reference", keep_tensors=True)
    slots = [detail["index"] for detail in interpreter.get_input_details()]
    operators = interpreter._get_ops_details()
    wanted = sorted({int(i) for operator in operators for i in operator["outputs"]} | set(slots))
    kept: dict[int, list[NDArray[Any]]] = {index: [] for index in wanted}
    for i in range(len(inputs[0])):
        for slot, array in zip(slots, inputs, strict=True):
            interpreter.set_tensor(slot, array[i : i + 1])
        interpreter.invoke()
        for index, values in kept.items():
            values.append(interpreter.get_tensor(index))
    return kept


def delegated_operators(content: bytes) -> set[int]:
    """The indices of the operations that XNNPACK takes."""
    interpreter = load(content)
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    producers = {int(out): node for node in nodes if node["op_name"] != "DELEGATE" for out in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        border = {int(index) for index in delegate["inputs"]}
        stack = [int(index) for index in delegate["outputs"]]
        while stack:
            node = producers.get(stack.pop())
            if node is None or node["index"] in taken:
                continue
            taken.add(node["index"])
            stack += [int(index) for index in node["inputs"] if int(index) not in border]
    return taken
