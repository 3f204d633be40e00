"""ONNX's own node tests of every operation in the table: converted and right, or refused in one line.

python tests/tflite/test_onnx_node_tests.py     counts them anew
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from int8_models import artifact_of, assert_layers_agree, file_inputs, parity, run_onnxruntime, to_scale, to_values
from onnx import TensorProto, helper, numpy_helper
from operation_cases import CASES

from edgeq.errors import EdgeqError
from edgeq.export.decompose import DECOMPOSED
from edgeq.onnx_file import OPSETS, load_onnx
from edgeq.tflite.ops import OPERATIONS
from edgeq.verify.litert import run

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "onnx-node-tests.json"
KINDS = sorted(set(OPERATIONS) | set(DECOMPOSED))
STEEP = {case.row for case in CASES if case.steep} | {"Where", "And", "Or", "Not", "Reciprocal", "Log", "Exp", "Pow"}
PARAMETERS = {"Conv", "ConvTranspose", "Gemm", "PRelu", "LayerNormalization", "Clip", "Pad", "Resize", "Pow", "Shrink"}


BEYOND = {
    "test_softmax_large_number": "differences of 1 among numbers of 10,000 are below a step of 8 bits",
    "test_resize_downsample_scales_linear_align_corners": "of a size that is no integer; onnxruntime rounds it first",
}


@cache
def node_tests() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    return tuple(collect_testcases(None))


def prepared(case: Any) -> tuple[onnx.ModelProto, dict[str, Any], list[Any]] | None:
    """The test as a network: float inputs are activations behind a batch of 1, all else and parameters constants."""
    model, (inputs, outputs) = case.model, case.data_sets[0]
    (node,) = model.graph.node if len(model.graph.node) == 1 else (None,)
    opset = model.opset_import[0].version
    if node is None or node.op_type not in KINDS or node.domain or opset not in OPSETS:
        return None
    arrays: list[Any] = [item if isinstance(item, np.ndarray) else None for item in inputs]
    if any(item is None for item in arrays) or not all(isinstance(item, np.ndarray) for item in outputs):
        return None
    real = [a.dtype == np.float32 and a.size > 0 and not (i and node.op_type in PARAMETERS)
            for i, a in enumerate(arrays)]  # fmt: skip
    if not any(real) or any(a.dtype.kind not in "fib" for a in arrays):
        return None
    names = [item.name for item in model.graph.input]
    nodes, ends, constants, samples = [], [], [], {}
    for name, array, is_real in zip(names, arrays, real, strict=True):
        if not is_real:
            constants.append(numpy_helper.from_array(array, name))
            continue
        ends.append(helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, (1, *array.shape)))
        constants.append(numpy_helper.from_array(np.array(array.shape, np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", [f"{name}_in", f"{name}_shape"], [name], name=f"reshape_{name}"))
        samples[f"{name}_in"] = array[None]
    nodes.append(node)
    results = [helper.make_tensor_value_info(item.name, item.type.tensor_type.elem_type, array.shape)
               for item, array in zip(model.graph.output, outputs, strict=True)]  # fmt: skip
    graph = helper.make_graph(nodes, case.name, ends, results, constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=9), samples, list(outputs)


def outcome(case: Any) -> str | None:
    """``converted``, or why not; None where it is no test of real numbers.

    Raises:
        AssertionError: a result is wrong.
    """
    ready = prepared(case)
    if ready is None:
        return None
    proto, samples, wanted = ready
    try:
        model = load_onnx(proto)
        artifact = artifact_of(ir.from_proto(ir.to_proto(model)), samples)
    except EdgeqError as error:
        if "\n" in str(error):
            raise
        return str(error).split(": ", 1)[-1].split(" (")[0]
    graph = artifact.conversion.graph
    assert_layers_agree(parity(artifact.content, artifact.qdq, artifact.conversion.layouts, samples))
    found = run(artifact.content, file_inputs(graph, samples), workers=1)
    exact = run_onnxruntime(artifact.qdq, samples)
    kind = case.model.graph.node[0].op_type
    for index, codes, real, same in zip(graph.outputs, found, wanted, exact, strict=True):
        if graph.tensors[index].quantization is None:
            continue
        values = to_values(codes, graph, index)
        assert values.shape == same.shape
        if kind in STEEP:
            assert np.abs(values - same).max(initial=0) <= 2.001 * to_scale(graph, index)
        else:
            bound = 0.05 * max(np.ptp(real), np.abs(real).max()) + to_scale(graph, index)
            assert np.abs(values - real).max(initial=0) <= bound
    return "converted"


def count(kind: str) -> dict[str, int]:
    """How many tests of an operation were converted, and refused for each reason."""
    cases = [case for case in node_tests() if case.model.graph.node[0].op_type == kind and case.name not in BEYOND]
    return dict(sorted(Counter(found for case in cases if (found := outcome(case)) is not None).items()))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("And", "Not", "Or")])  # of truth values alone
def test_onnx_node_tests_are_right_or_refused(kind: str) -> None:
    recorded = json.loads(RESULTS.read_text(encoding="utf-8"))
    found = count(kind)  # fails where a result is wrong
    if onnx.__version__ == recorded["onnx"]:
        assert found == recorded["operations"][kind], f"run: python tests/tflite/{Path(__file__).name}"


if __name__ == "__main__":
    counts = {kind: count(kind) for kind in KINDS}
    converted = sum(found.get("converted", 0) for found in counts.values())
    refused = sum(sum(found.values()) for found in counts.values()) - converted
    content = {"onnx": onnx.__version__, "converted": converted, "refused": refused, "operations": counts}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{converted} converted, {refused} refused")
