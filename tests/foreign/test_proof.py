"""What a conversion is compared in: its operations, and its outputs beside those of the model as it was given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small_training import Watch
from test_forms import CONV, TAIL, model, saved

import edgeq.foreign.proof
import edgeq.tflite.convert
from edgeq.errors import VerifyError
from edgeq.foreign.proof import noise
from edgeq.onnx_file import load_onnx
from edgeq.posttraining import convert_file

DEEP = CONV + TAIL.replace("y ", "yd ") + "t = Transpose <perm = [0, 2, 3, 1]> (yd)\n"
DEEP += "tq = QuantizeLinear (t, sy, zy)\n y = DequantizeLinear (tq, sy, zy)\n"


def converted(proto: onnx.ModelProto, folder: Path, **options: Any) -> Any:
    _, proof = convert_file(saved(proto, folder), folder / "model.tflite", **options)
    return proof


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_outputs_are_those_of_the_model_whatever_its_ends(kind: str, io: Any, tmp_path: Path) -> None:
    body = (CONV + TAIL).split("\n", 1)[1].replace("xq", "x").replace("yq", "y").rsplit(" y =", 1)[0]
    body = body.replace("zx", "ux").replace("zy", "uy") if kind == "uint8" else body
    proof = converted(model(body, f"{kind}[1, 3, 6, 5] x", f"{kind} y"), tmp_path, io=io)
    assert proof.outputs.max_code_difference <= 1
    assert proof.outputs.equal > 90
    assert proof.samples == 4
    assert {layer.operation for layer in proof.layers} >= {"CONV_2D"}


def test_outputs_are_compared_in_the_models_order(tmp_path: Path) -> None:
    proof = converted(model(DEEP), tmp_path)
    assert proof.outputs.max_code_difference <= 1
    assert proof.outputs.equal > 90


def test_classes_are_equal_or_not(tmp_path: Path) -> None:
    body = CONV + TAIL.replace("y ", "yd ") + "y = ArgMax <axis = 1, keepdims = 0> (yd)\n"
    outputs = converted(model(body, outputs="int64 y"), tmp_path).outputs
    assert outputs.max_code_difference is None
    assert outputs.equal > 90


def test_noise_takes_all_codes_then_fewer_about_zero(tmp_path: Path) -> None:
    canonical = load_onnx(saved(model(CONV + TAIL, "float[1, 3, 64, 64] x"), tmp_path))
    edgeq.foreign.make_canonical(canonical)
    codes = noise(canonical, 3)["x"] / np.float32(0.02) + 3  # sx and zx
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    np.testing.assert_allclose([(part.min(), part.max()) for part in codes],
                               [(-128, 127), (-62, 65), (-30, 34)], atol=1.5)  # fmt: skip


def test_wrong_integers_are_found_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = edgeq.tflite.convert.convert_qdq

    def wrong(*given: Any, **options: Any) -> Any:
        found = right(*given, **options)
        tensors = [
            dataclasses.replace(item, data=np.flip(np.asarray(item.data), -1)) if item.name == "w" else item
            for item in found.graph.tensors
        ]
        assert any(item.name == "w" for item in tensors)
        return dataclasses.replace(found, graph=dataclasses.replace(found.graph, tensors=tuple(tensors)))

    monkeypatch.setattr(edgeq.tflite.convert, "convert_qdq", wrong)
    with pytest.raises(VerifyError, match=r"CONV_2D.*onnxruntime.*do not agree"):
        converted(model(CONV + TAIL), tmp_path)
    assert not (tmp_path / "model.tflite").exists()


def test_a_rewritten_model_that_computes_something_else_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = edgeq.foreign.make_canonical

    def wrong(found: Any, ranges: Any = None) -> list[str]:
        notes = right(found, ranges)
        stored = found.graph.initializers["w"]
        stored.const_value = ir.tensor(stored.const_value.numpy()[..., ::-1].copy(), name="w")
        return notes

    monkeypatch.setattr(edgeq.foreign, "make_canonical", wrong)
    proof = converted(model(CONV + TAIL), tmp_path)
    assert proof.max_code_difference <= 1  # the file computes what the rewritten model does
    assert proof.outputs.max_code_difference > 20


def test_a_model_that_onnxruntime_does_not_run_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(found: object) -> object:
        raise RuntimeError("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED\nmore")

    monkeypatch.setattr(edgeq.foreign.proof, "open_session", refuse)
    shown = Watch()
    assert converted(model(CONV + TAIL), tmp_path, progress=shown).outputs is None
    assert shown.warnings == [
        "the outputs are not compared: onnxruntime does not run the model ([ONNXRuntimeError] : 9 : NOT_IMPLEMENTED)"
    ]
