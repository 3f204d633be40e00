"""ONNX's own node tests of its quantized operations: converted with the expected codes, or refused in one line."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from int8_models import file_inputs, to_values
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeq.errors import EdgeqError
from edgeq.foreign import make_canonical
from edgeq.onnx_file import OPSETS, load_onnx
from edgeq.tflite.convert import convert_qdq
from edgeq.tflite.write import write_graph

COUNTED_WITH = "1.23.2"  # onnx; another may have more tests
COUNTS = [("ConvInteger", 0, 2), ("DequantizeLinear", 1, 13), ("DynamicQuantizeLinear", 0, 3), ("MatMulInteger", 0, 1),
          ("QLinearConv", 0, 1), ("QLinearMatMul", 8, 8), ("QuantizeLinear", 1, 12)]  # fmt: skip
INPUTS = {"QLinearMatMul": ((0,), (0, 3))}  # the second operand as a weight, with its zero point, and as an activation


@cache
def node_tests() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    cases: list[Any] = collect_testcases(None)
    kinds = {kind for kind, _, _ in COUNTS}
    return tuple(case for case in cases if [node.op_type in kinds for node in case.model.graph.node] == [True])


def array_of(item: Any) -> NDArray[Any]:
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)


def converted(case: Any, inputs: tuple[int, ...]) -> None:
    """The test with these inputs given and the others constants.

    Raises:
        EdgeqError: it is refused.
        AssertionError: a result is wrong.
    """
    source, (given, wanted) = case.model, case.data_sets[0]
    (node,), arrays, expected = source.graph.node, [array_of(item) for item in given], array_of(wanted[0])
    names = [name for name in node.input if name]
    protos = [item if isinstance(item, onnx.TensorProto) else numpy_helper.from_array(np.asarray(item))
              for item in given]  # fmt: skip
    constants = []
    for i, (name, proto) in enumerate(zip(names, protos, strict=True)):
        if i not in inputs:
            constants.append(onnx.TensorProto())
            constants[-1].CopyFrom(proto)
            constants[-1].name = name
    ends = [helper.make_tensor_value_info(names[i], protos[i].data_type, arrays[i].shape) for i in inputs]
    graph = helper.make_graph([node], case.name, ends, source.graph.output, constants)
    opset = helper.make_opsetid("", min(source.opset_import[0].version, OPSETS.stop - 1))
    model = load_onnx(helper.make_model(graph, opset_imports=[opset], ir_version=10))
    make_canonical(model)
    conversion = convert_qdq(model)
    found_graph = conversion.graph
    samples = {}
    for i in inputs:
        scale, zero = (1, 0) if node.op_type == "QuantizeLinear" else (arrays[i + 1], arrays[i + 2])
        samples[names[i]] = ((arrays[i].astype(np.float64) - zero) * scale).astype(np.float32)
    interpreter = Interpreter(model_content=write_graph(found_graph))
    interpreter.allocate_tensors()
    fed = dict(zip(found_graph.input_names, file_inputs(found_graph, samples), strict=True))
    for detail, name in zip(interpreter.get_input_details(), found_graph.input_names, strict=True):
        interpreter.set_tensor(detail["index"], fed[name])
    interpreter.invoke()
    codes = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    values = to_values(codes, found_graph, found_graph.outputs[0])
    if node.op_type == "DequantizeLinear":
        np.testing.assert_array_equal(values, expected)
        return
    step, offset = (float(part.item()) for part in arrays[-2:])
    grid = found_graph.tensors[found_graph.outputs[0]].quantization
    assert grid is not None
    assert grid.scale[0] == np.float32(step)
    found = np.rint(values / step + offset)
    np.testing.assert_allclose(found, expected, atol=0 if node.op_type == "QuantizeLinear" else 1)


def refusal(case: Any, inputs: tuple[int, ...]) -> str | None:
    """The line that a test is refused in."""
    try:
        converted(case, inputs)
    except EdgeqError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("kind", "right", "refused"), COUNTS)
def test_quantized_node_tests_are_right_or_refused(kind: str, right: int, refused: int) -> None:
    cases = [case for case in node_tests() if case.model.graph.node[0].op_type == kind]
    refusals = [refusal(case, inputs) for case in cases for inputs in INPUTS.get(kind, ((0,),))]
    lines = [line for line in refusals if line is not None]
    assert all(re.fullmatch(r"(node|input) \w+.+", line) for line in lines)
    if onnx.__version__ == COUNTED_WITH:
        assert (len(refusals) - len(lines), len(lines)) == (right, refused)
