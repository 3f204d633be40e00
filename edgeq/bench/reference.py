"""What an artifact should compute, by the host's LiteRT: the whole file, and every operation alone."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.bench.split import SingleOperation, split_operations
from edgeq.errors import FormatError, VerifyError
from edgeq.golden import load_golden
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_file
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import load, run

__all__ = ["OperationRun", "Reference", "at_sample", "make_reference"]

Arrays = list[NDArray[Any]]

SAMPLES = 2  # of random codes, where there are no golden ones
SEED = 0


@dataclass(frozen=True, slots=True)
class OperationRun:
    """One operation with what it reads and writes, each array the whole of its tensor."""

    operation: SingleOperation
    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact and what it computes here.

    Attributes:
        path: the .tflite file.
        sha256: of the file.
        graph: what is in it.
        inputs, outputs: an array an input or output, samples first.
        operations: every operation alone, fed from the first sample.
        golden: whether the samples and outputs are those the build kept.
    """

    path: Path
    sha256: str
    graph: Graph
    inputs: Arrays
    outputs: Arrays
    operations: tuple[OperationRun, ...]
    golden: bool


def make_reference(path: Path, *, operations: bool = True) -> Reference:
    """Run an artifact on the host.

    Args:
        path: a .tflite file, or a build's folder, whose golden vectors are then used and checked.
        operations: whether to run each operation alone, too.

    Raises:
        FormatError: no .tflite file, a damaged one, one of unknown sizes or that takes several samples at once, one
            that LiteRT cannot run, or damaged golden vectors.
        VerifyError: LiteRT gives other bytes than the golden ones, or the operations in a row give others than the
            whole.
    """
    model = path / "model.tflite" if path.is_dir() else path
    graph = read_file(model)
    content = model.read_bytes()
    for index in (*graph.inputs, *graph.outputs):
        if any(size < 1 for size in graph.tensors[index].shape):
            shape = graph.tensors[index].shape
            raise FormatError("has an input or output of unknown size", where=model, got=shape)
    for index in graph.inputs:
        if graph.tensors[index].shape[:1] != (1,):
            shape = graph.tensors[index].shape
            raise FormatError("takes no single sample", where=model, got=shape, wanted="inputs with a first size of 1")
    golden = _read_golden(path / "golden.npz", graph) if (path / "golden.npz").is_file() else None
    inputs = [golden[0]] if golden is not None else _random_inputs(graph)
    try:
        outputs = run(content, inputs, workers=1)
    except (RuntimeError, ValueError) as error:
        raise FormatError("LiteRT cannot run the file", where=model, got=str(error)[:300]) from error
    if golden is not None and not np.array_equal(outputs[0], golden[1]):
        remedy = "run edgeq build again with the LiteRT that is installed"
        raise VerifyError("LiteRT gives other bytes than golden.npz holds", where=model, remedy=remedy)
    parts = _operations(graph, inputs, outputs, model) if operations else ()
    return Reference(model, hashlib.sha256(content).hexdigest(), graph, inputs, outputs, parts, golden is not None)


def at_sample(reference: Reference, sample: int) -> Reference:
    """The same for one sample alone, counted from 0: its operations are fed from it."""
    inputs = [array[sample : sample + 1] for array in reference.inputs]
    rows = [reference.graph.tensors[index].shape[0] for index in reference.graph.outputs]
    outputs = [
        array[sample * count : (sample + 1) * count] for array, count in zip(reference.outputs, rows, strict=True)
    ]
    parts = _operations(reference.graph, inputs, outputs, reference.path)
    return dataclasses.replace(reference, inputs=inputs, outputs=outputs, operations=parts)


def _read_golden(path: Path, graph: Graph) -> tuple[NDArray[Any], NDArray[Any]]:
    """The golden inputs and outputs, which are of the graph's only input and only output."""
    inputs, outputs = load_golden(path)
    for array, index in ((inputs, graph.inputs[0]), (outputs, graph.outputs[0])):
        tensor = graph.tensors[index]
        if array.ndim < 1 or array.shape[1:] != tensor.shape[1:] or array.dtype.name != tensor.dtype or not len(array):
            got, wanted = f"{array.dtype} {list(array.shape)}", f"{tensor.dtype} [N, {str(list(tensor.shape[1:]))[1:]}"
            raise FormatError("golden vectors of another model", where=path, got=got, wanted=wanted)
    return inputs, outputs


def _random_inputs(graph: Graph) -> Arrays:
    """Every code equally likely, float inputs in [-1, 1); the same each time."""
    generator = np.random.default_rng(SEED)
    arrays: Arrays = []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        shape = (SAMPLES, *tensor.shape[1:])
        if np.issubdtype(np.dtype(tensor.dtype), np.integer):
            limits = np.iinfo(tensor.dtype)
            arrays.append(generator.integers(limits.min, limits.max, shape, np.dtype(tensor.dtype), endpoint=True))
        else:
            arrays.append(generator.uniform(-1, 1, shape).astype(tensor.dtype))
    return arrays


def _operations(graph: Graph, inputs: Arrays, outputs: Arrays, where: Path) -> tuple[OperationRun, ...]:
    known = {index: array[:1] for index, array in zip(graph.inputs, inputs, strict=True)}
    runs = []
    for operation in split_operations(graph):
        read = [known[index] for index in operation.reads if index in known]
        if not read or len(read) < len(operation.reads) or not operation.writes or operation.kind.startswith("CUSTOM"):
            what = "has an operation that cannot run alone"
            raise FormatError(what, where=where, got=f"{operation.kind} {operation.name}", remedy="use --no-operations")
        written = _run_once(write_graph(operation.graph), read)
        known |= dict(zip(operation.writes, written, strict=True))
        runs.append(OperationRun(operation, read, written))
    for index, whole in zip(graph.outputs, outputs, strict=True):
        if not np.array_equal(known[index], whole[: graph.tensors[index].shape[0]]):
            raise VerifyError(
                "the operations one by one give other bytes than the file",
                where=f"{where}, {graph.tensors[index].name}",
            )
    return tuple(runs)


def _run_once(content: bytes, inputs: Arrays) -> Arrays:
    """What a file gives for whole tensors: inside a network the first size need not be 1."""
    interpreter = load(content)
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
