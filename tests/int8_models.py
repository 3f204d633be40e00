"""Small float networks in ONNX text, their int8 artifacts, and the runtimes that judge them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from edgeq.artifact import Artifact, make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.grid import QuantizedWeight
from edgeq.modes import Plan
from edgeq.tflite.convert import Head, Interface
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_graph
from edgeq.verify.layers import IMPRECISE_REFERENCE, compare_layers
from edgeq.verify.litert import run
from edgeq.verify.report import LayerParity

Arrays = dict[str, NDArray[Any]]
Constant = NDArray[Any] | Sequence[int] | float
"""An array as it is, a number as a float32 scalar; a list of integers as the values of an int64 vector."""


def weights(*shape: int, seed: int = 0, scale: float = 0.5) -> NDArray[np.float32]:
    """Float32 weights that differ from shape to shape."""
    generator = np.random.default_rng([seed, zlib.crc32(repr(shape).encode())])
    return (scale * generator.standard_normal(shape)).astype(np.float32)


def float_proto(
    body: str,
    constants: Mapping[str, Constant],
    inputs: Mapping[str, tuple[int | str, ...]],
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = 20,
) -> onnx.ModelProto:
    """A checked float model: the nodes as ONNX text, the constants as initializers, the shapes inferred; an output that
    is not float has its type before its name."""
    ends = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in inputs.items())
    results = ", ".join(name if " " in name else f"float {name}" for name in outputs)
    header = f'<ir_version: 9, opset_import: ["" : {opset}]>'
    proto = onnx.parser.parse_model(f"{header} main ({ends}) => ({results}) {{ {body} }}")
    for name, value in constants.items():
        array = np.asarray(value, np.int64 if isinstance(value, list | tuple) else np.float32)
        if isinstance(value, np.ndarray):
            array = value
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for i, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{i}"
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    onnx.checker.check_model(proto)
    return proto


def float_model(
    body: str,
    constants: Mapping[str, Constant],
    inputs: Mapping[str, tuple[int | str, ...]],
    outputs: Sequence[str] = ("y",),
) -> ir.Model:
    return ir.from_proto(float_proto(body, constants, inputs, outputs))


def random_samples(inputs: Mapping[str, tuple[int, ...]], count: int = 8, seed: int = 0) -> Arrays:
    """Normal values, samples first; the shapes have the batch, which is 1."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal((count, *shape[1:])).astype(np.float32) * (1 + i) + 0.25
        for i, (name, shape) in enumerate(inputs.items())
    }


def input_shapes(model: ir.Model) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        shapes[str(value.name)] = tuple(int(str(size)) for size in value.shape)
    return shapes


def artifact_of(
    model: ir.Model,
    samples: Arrays | None = None,
    *,
    trained: Mapping[str, QuantizedWeight] | None = None,
    io: Interface = "int8",
    head: Head = "none",
    method: str = "minmax",
    plan: Plan | None = None,
) -> Artifact:
    """The int8 artifact of a float model; the samples are random where none are given."""
    recipe = CalibrationRecipe(method=method)  # type: ignore[arg-type]
    data = random_samples(input_shapes(model)) if samples is None else samples
    return make_artifact(model, trained or {}, data, recipe, io=io, head=head, plan=plan)


def kinds(graph: Graph) -> list[str]:
    """The operations of a graph in order."""
    return [operator.kind for operator in graph.operators]


def run_onnxruntime(model: onnx.ModelProto | ir.Model, samples: Arrays) -> list[NDArray[Any]]:
    """Sample by sample with every optimization off: the graph as it is written."""
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    count = len(next(iter(samples.values())))
    rows = [session.run(None, {name: array[i : i + 1] for name, array in samples.items()}) for i in range(count)]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def to_codes(values: NDArray[Any], graph: Graph, index: int) -> NDArray[Any]:
    """Real values in ONNX order as codes of a tensor in TFLite's."""
    tensor = graph.tensors[index]
    assert tensor.quantization is not None
    if values.ndim == 4:
        values = values.transpose(0, 2, 3, 1)
    limits = np.iinfo(tensor.dtype)
    codes = np.rint(values / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
    return np.ascontiguousarray(np.clip(codes, limits.min, limits.max).astype(tensor.dtype))


def file_inputs(graph: Graph, samples: Arrays) -> list[NDArray[Any]]:
    """The samples as a file of integer inputs takes them."""
    return [to_codes(samples[name], graph, index) for name, index in zip(graph.input_names, graph.inputs, strict=True)]


def parity(content: bytes, qdq: ir.Model, layouts: Mapping[str, Layout], samples: Arrays) -> list[LayerParity]:
    """Every operation of a file in LiteRT's reference kernels, XNNPACK and onnxruntime, from equal codes."""
    graph = read_graph(content)
    return compare_layers(content, graph, qdq, layouts, file_inputs(graph, samples))


def assert_layers_agree(rows: list[LayerParity]) -> None:
    """One code: two correct kernels may round a tie to different sides, and no more."""
    for row in rows:
        assert row.xnnpack_difference <= 1 or row.operation in IMPRECISE_REFERENCE, row
        assert (row.onnx_difference or 0) <= 1, row


def assert_int8_is_right(
    proto: onnx.ModelProto, becomes: str, samples: Arrays | None = None, *, steep: bool = False
) -> Artifact:
    """It becomes these operations, all int8; all runtimes agree on each layer; the results are the float network's."""
    model = ir.from_proto(proto)
    samples = random_samples(input_shapes(model)) if samples is None else samples
    wanted = run_onnxruntime(proto, samples)
    artifact = artifact_of(model, samples)
    graph = artifact.conversion.graph
    assert " ".join(kinds(graph)) == becomes
    assert "float32" not in {tensor.dtype for tensor in graph.tensors}
    assert_layers_agree(parity(artifact.content, artifact.qdq, artifact.conversion.layouts, samples))
    found = run(artifact.content, file_inputs(graph, samples), workers=1)
    exact = run_onnxruntime(artifact.qdq, samples)
    for index, codes, real, same in zip(graph.outputs, found, wanted, exact, strict=True):
        if graph.tensors[index].quantization is None:  # indices and truth values
            assert np.array_equal(codes.transpose(0, 3, 1, 2) if codes.ndim == 4 else codes, same)
            continue
        values = to_values(codes, graph, index)
        assert values.shape == real.shape
        if steep:
            assert np.abs(values - same).max() <= 1.001 * to_scale(graph, index)
            continue
        # Half a step of every 8-bit input, weight and result: in these small nets under 4 % of the range seen.
        assert np.abs(values - real).max() <= 0.04 * max(np.ptp(real), np.abs(real).max())
    return artifact


def to_scale(graph: Graph, index: int) -> float:
    """The step of a tensor's grid."""
    grid = graph.tensors[index].quantization
    assert grid is not None
    return float(grid.scale[0])


def to_values(codes: NDArray[Any], graph: Graph, index: int) -> NDArray[np.float32]:
    """Codes of a tensor as real values in ONNX order."""
    grid = graph.tensors[index].quantization
    assert grid is not None
    values: NDArray[np.float32] = grid.scale[0] * (codes.astype(np.float32) - grid.zero_point[0])
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
