from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_models import artifact_of, float_proto, run_onnxruntime, weights
from onnx import helper, numpy_helper

from edgeq.artifact import check_convertible
from edgeq.errors import ExportError, FormatError
from edgeq.onnx_file import load_onnx

INPUTS = {"x": (1, 3, 5, 7)}


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    onnx.save(proto, folder / "net.onnx")
    return folder / "net.onnx"


def conv(weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None = None) -> onnx.ModelProto:
    return float_proto("y = Conv (x, w)", {"w": weights(4, 3, 2, 2) if weight is None else weight}, INPUTS)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04 a zip", b"\xff" * 1000, b"{}"])
def test_garbage(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(FormatError, match=r"net\.onnx"):
        load_onnx(tmp_path / "net.onnx")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = saved(tmp_path, conv())
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError):
            load_onnx(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            load_onnx(path)


@pytest.mark.parametrize("opset", [7, 9, 24, 99])
def test_an_opset_out_of_range(opset: int, tmp_path: Path) -> None:
    proto = conv()
    proto.opset_import[0].version = opset
    with pytest.raises(FormatError, match=f"opset is not supported .got {opset}, wanted 10 to 23"):
        load_onnx(saved(tmp_path, proto))


def test_a_graph_that_is_no_valid_onnx(tmp_path: Path) -> None:
    proto = conv()
    proto.graph.node[0].input[1] = "nothing"
    with pytest.raises(FormatError, match="no valid ONNX"):
        load_onnx(saved(tmp_path, proto))
    proto = float_proto("y = Gemm (x, w)", {"w": weights(7, 5)}, {"x": (1, 7)})
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights(9, 5), "w"))
    with pytest.raises(FormatError, match="no valid ONNX"):
        load_onnx(saved(tmp_path, proto))


def test_weights_that_are_nan_name_their_layer(tmp_path: Path) -> None:
    weight = weights(4, 3, 2, 2)
    weight[1, 2, 0, 1] = np.nan
    with pytest.raises(ExportError, match=r"layer w: .*NaN or infinite"):
        artifact_of(load_onnx(saved(tmp_path, conv(weight))))


def test_a_symbolic_batch_is_fixed_and_another_symbol_is_told(tmp_path: Path) -> None:
    proto = float_proto("y = Conv (x, w)", {"w": weights(4, 3, 2, 2)}, {"x": ("N", 3, 5, 7)})
    model = load_onnx(saved(tmp_path, proto))
    assert [list(value.shape or []) for value in model.graph.inputs] == [[1, 3, 5, 7]]
    proto = float_proto("y = Conv (x, w)", {"w": weights(4, 3, 2, 2)}, {"x": ("N", 3, "H", 7)})
    model = load_onnx(saved(tmp_path, proto))
    with pytest.raises(ExportError, match="not fixed"):
        check_convertible(model)


def test_weights_that_are_inputs_too_are_weights(tmp_path: Path) -> None:
    """As exporters of before ONNX 1.4 wrote them."""
    proto = conv()
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 3, 2, 2]))
    assert [value.name for value in load_onnx(saved(tmp_path, proto)).graph.inputs] == ["x"]


def test_constants_in_any_form_become_initializers(tmp_path: Path) -> None:
    body = """
        a = Constant <value_ints = [0, 1]> ()
        b = Constant <value_ints = [3, 4]> ()
        c = Constant <value_ints = [2, 3]> ()
        k = Constant <value_float = 0.5> ()
        s = Slice (x, a, b, c)
        y = Mul (s, k)
    """
    proto = float_proto(body, {}, INPUTS)
    samples = {"x": weights(2, 3, 5, 7)}
    model = load_onnx(saved(tmp_path, proto))
    assert [node.op_type for node in model.graph] == ["Slice", "Mul"]
    np.testing.assert_array_equal(run_onnxruntime(model, samples)[0], run_onnxruntime(proto, samples)[0])


def test_an_ir_version_too_new(tmp_path: Path) -> None:
    proto = conv()
    proto.ir_version = 99
    with pytest.raises(FormatError, match=r"IR version is not supported .got 99, wanted at most"):
        load_onnx(saved(tmp_path, proto))


def test_a_cycle_and_a_name_that_is_given_twice(tmp_path: Path) -> None:
    proto = float_proto("a = Relu (x)\n b = Relu (a)\n y = Relu (b)", {}, INPUTS)
    proto.graph.node[0].input[0] = "b"
    with pytest.raises(FormatError, match="no valid ONNX"):
        load_onnx(saved(tmp_path, proto))
    proto = float_proto("a = Relu (x)\n b = Relu (a)\n y = Relu (b)", {}, INPUTS)
    proto.graph.node[1].output[0] = "a"
    with pytest.raises(FormatError, match="no valid ONNX"):
        load_onnx(saved(tmp_path, proto))
    proto = float_proto("y = Conv (x, w)", {"w": weights(4, 3, 2, 2)}, INPUTS)
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(FormatError, match="no valid ONNX"):
        load_onnx(saved(tmp_path, proto))


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        (["b = local.f0 (a)"], "call each other in a circle"),
        (["b = local.f1 (a)", "b = local.f0 (a)"], "call each other in a circle"),
        ([*(f"c = local.f{i + 1} (a) b = local.f{i + 1} (c)" for i in range(40)), "b = Relu (a)"], "too many nodes"),
    ],
)
def test_functions_without_an_end(bodies: list[str], message: str, tmp_path: Path) -> None:
    functions = "".join(
        f'<domain: "local", opset_import: ["" : 20, "local" : 1]> f{i} (a) => (b) {{ {body} }}'
        for i, body in enumerate(bodies)
    )
    text = '<ir_version: 9, opset_import: ["" : 20, "local" : 1]> main (float[1, 3, 5, 7] x) => (float[1, 3, 5, 7] y)'
    proto = onnx.parser.parse_model(f"{text} {{ y = local.f0 (x) }} {functions}")
    with pytest.raises(FormatError, match=message):
        load_onnx(saved(tmp_path, proto))


def test_a_symbolic_batch_that_a_flatten_moves_is_fixed(tmp_path: Path) -> None:
    proto = float_proto("y = Flatten <axis = 2> (x)", {}, {"x": ("N", 3, 4, 5)})
    shape = load_onnx(saved(tmp_path, proto)).graph.outputs[0].shape
    assert shape is not None
    assert shape.numpy() == (3, 20)
