"""Each row of the operations table in each mode: every layer in onnxruntime, LiteRT's reference kernels and XNNPACK,
the result against the float network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from int8_models import artifact_of, file_inputs, float_proto, input_shapes, random_samples, run_onnxruntime, to_values
from numpy.typing import NDArray
from operation_cases import CASES, Case

from edgeq.errors import ExportError
from edgeq.modes import MODES, Plan
from edgeq.tflite.read import read_graph
from edgeq.verify.check import check_layers
from edgeq.verify.layers import compare_layers
from edgeq.verify.litert import run

TABLES = "Atan Celu Erf Mish Selu Shrink Softplus Softsign ThresholdedRelu"
REFUSED = {  # by mode, the rows without a form in it
    "float32": set(TABLES.split()),
    "int16": {*TABLES.split(), *["Ceil", "Cos", "Elu", "Floor", "Reciprocal", "Round", "Sign", "Sin", "Sqrt"],
              *["And", "ArgMax", "ArgMin", "Cast", "Equal", "Greater", "GreaterOrEqual"],
              *["Less", "LessOrEqual", "Not", "Or"],
              *["DepthToSpace", "HardSwish", "LayerNormalization", "Log", "Pow", "SpaceToDepth"]},
}  # fmt: skip
FIRST = {case.row: case for case in reversed(CASES)}
LAYERS = [case for row in ("Conv", "ConvTranspose", "Gemm", "MatMul") for case in CASES if case.row == row][::3]
# Of the largest value: float32 rounding; float16 keeps 11 bits of a weight; int16 has int8's weights; dynamic quantizes
# each input, too.
CLOSE = {"float32": 1e-5, "float16": 2e-3, "int16": 0.02, "dynamic": 0.04}


def cases() -> list[Any]:
    rows = [(mode, case) for mode in ("float32", "int16") for case in FIRST.values()]
    rows += [(mode, case) for mode in ("float16", "dynamic") for case in LAYERS]
    return [pytest.param(mode, case, id=f"{mode}-{case.name}") for mode, case in rows]


def fed(graph: Any, samples: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    if graph.tensors[graph.inputs[0]].quantization is not None:
        return file_inputs(graph, samples)
    return [np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x for x in samples.values()]


@pytest.mark.parametrize(("mode", "case"), cases())
def test_operation_in_a_mode(mode: str, case: Case) -> None:
    proto = float_proto(case.body, case.constants, case.inputs, case.outputs)
    samples = random_samples(input_shapes(ir.from_proto(proto)), 2)
    io: Any = MODES[mode].ends[-1]
    if case.row in REFUSED.get(mode, ()):
        with pytest.raises(ExportError, match=rf"has no {MODES[mode].activations} form in TFLite"):
            artifact_of(ir.from_proto(proto), samples, io=io, plan=Plan(MODES[mode]))
        return
    artifact = artifact_of(ir.from_proto(proto), samples, io=io, plan=Plan(MODES[mode]))
    graph = read_graph(artifact.content)
    types = {graph.tensors[i].dtype for operator in graph.operators for i in operator.outputs}
    assert types <= {MODES[mode].activations, "bool", "int32", "int64"}
    inputs = fed(graph, samples)
    check_layers(compare_layers(artifact.content, graph, artifact.qdq, artifact.conversion.layouts, inputs))
    found = run(artifact.content, inputs, workers=1)
    for index, values, wanted in zip(graph.outputs, found, run_onnxruntime(proto, samples), strict=True):
        if values.dtype == np.int16:
            real = to_values(values, graph, index)
        else:
            real = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
        if values.dtype.kind == "f" or values.dtype == np.int16:
            assert np.abs(real - wanted).max() <= CLOSE[mode] * np.abs(wanted).max()
        else:
            assert np.array_equal(real, wanted)
