from __future__ import annotations

from pathlib import Path

import pytest
from int8_models import Constant, artifact_of, float_model, weights

from edgeq.artifact import Artifact, tflite_bytes
from edgeq.errors import FormatError
from edgeq.inspection import Inspection, inspect_file
from edgeq.tflite.metadata import ImageClassifier

BODY = """
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu (c)
    d = Conv <group = 4> (r, v)
    f = Flatten (d)
    y = Gemm <transB = 1> (f, u)
"""
CONSTANTS: dict[str, Constant] = {
    "w": weights(4, 3, 3, 3),
    "b": weights(4),
    "v": weights(8, 1, 2, 2),
    "u": weights(5, 192),
}
MACS = {"c": 4 * 5 * 7 * 27, "d": 8 * 4 * 6 * 4, "y": 5 * 192}  # output pixels x what each multiplies


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return artifact_of(float_model(BODY, CONSTANTS, {"x": (1, 3, 5, 7)}), io="uint8", head="softmax")


@pytest.fixture
def tflite(artifact: Artifact, tmp_path: Path) -> Inspection:
    info = ImageClassifier("net", tuple("abcde"))
    (tmp_path / "m.tflite").write_bytes(tflite_bytes(artifact.conversion.graph, info))
    return inspect_file(tmp_path / "m.tflite")


@pytest.fixture
def qdq(artifact: Artifact, tmp_path: Path) -> Inspection:
    (tmp_path / "m.onnx").write_bytes(artifact.onnx_bytes)
    return inspect_file(tmp_path / "m.onnx")


def test_tflite_operations_and_macs(tflite: Inspection) -> None:
    assert [row.kind for row in tflite.operations] == [
        "QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX", "QUANTIZE",
    ]  # fmt: skip
    assert tflite.counts == {"QUANTIZE": 2, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1,
                             "SOFTMAX": 1}  # fmt: skip
    assert tflite.macs == sum(MACS.values())
    assert tflite.integer_share_of_operations == 1


def test_tflite_ends_and_facts(tflite: Inspection) -> None:
    assert [(row.dtype, row.shape) for row in tflite.inputs] == [("uint8", (1, 5, 7, 3))]
    assert [(row.dtype, row.shape) for row in tflite.outputs] == [("uint8", (1, 5))]
    assert tflite.outputs[0].grid == "0.00390625 * q"
    assert tflite.facts["signature_inputs"] == ["x"]
    assert tflite.facts["signature_outputs"] == ["scores"]
    assert tflite.facts["min_runtime_version"] == "1.14.0"
    assert set(tflite.facts["metadata"]) == {"min_runtime_version", "TFLITE_METADATA"}


def test_tflite_sizes(tflite: Inspection) -> None:
    codes = 4 * 27 + 8 * 4 + 5 * 192
    biases = 4 * (4 + 8 + 5)
    shape = 4 * 2
    assert tflite.constant_bytes == codes + biases + shape
    assert tflite.int8_share_of_constants == pytest.approx(codes / (codes + biases + shape))
    assert tflite.size_bytes > tflite.constant_bytes
    weight = next(row for row in tflite.tensors if row.name == "w")
    assert (weight.shape, weight.dtype, weight.size_bytes) == ((4, 3, 3, 3), "int8", 108)
    assert weight.grid.startswith("4 scales")


def test_onnx_says_the_same(qdq: Inspection) -> None:
    assert [row.kind for row in qdq.operations] == ["Conv", "Relu", "Conv", "Flatten", "Gemm"]
    assert {row.output: row.macs for row in qdq.operations if row.macs} == {
        "c": MACS["c"], "d": MACS["d"], "y_QuantizeLinear_Input": MACS["y"],
    }  # fmt: skip
    assert qdq.integer_share_of_operations == 1
    assert [(row.name, row.dtype, row.shape) for row in qdq.inputs] == [("x", "float32", (1, 3, 5, 7))]
    assert qdq.facts["producer"] == "edgeq"
    weight = next(row for row in qdq.tensors if row.name == "w_quantized")
    assert (weight.shape, weight.dtype, weight.size_bytes) == ((4, 3, 3, 3), "int8", 108)
    assert weight.grid.startswith("4 scales")


def test_a_float_file_has_no_integers(tmp_path: Path) -> None:
    import onnx_ir as ir

    ir.save(float_model(BODY, CONSTANTS, {"x": (1, 3, 5, 7)}), tmp_path / "m.onnx")
    found = inspect_file(tmp_path / "m.onnx")
    assert found.integer_share_of_operations == 0
    assert found.int8_share_of_constants == 0
    assert found.macs == sum(MACS.values())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.tflite", b"", "neither a TFLite nor an ONNX"),
        ("m.bin", b"\x00" * 100, "neither a TFLite nor an ONNX"),
        ("m.tflite", b"\x08\x00\x00\x00TFL3" + b"\xff" * 40, "truncated or corrupted"),
        ("m.onnx", b"\xff" * 40, "no ONNX file"),
    ],
)
def test_what_is_no_model(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        inspect_file(tmp_path / name)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a folder"):
        inspect_file(tmp_path)
    with pytest.raises(FormatError, match="cannot be read"):
        inspect_file(tmp_path / "none.onnx")
