"""``edgeq quantize`` in each mode: the folder it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from int8_models import float_proto, random_samples, weights

import edgeq
from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.modes import MODES
from edgeq.posttraining import ExportRequest

PROTO = float_proto(
    "a = Conv (x, w, b)\n c = Relu (a)\n f = Flatten (c)\n y = Gemm <transB = 1> (f, v)",
    {"w": weights(4, 3, 3, 3), "b": weights(4), "v": weights(5, 48)},
    {"x": (1, 3, 5, 6)},
)
SAMPLES = random_samples({"x": (1, 3, 5, 6)}, 6)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_leaves_a_whole_folder(mode: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = edgeq.quantize(PROTO, ExportRequest(SAMPLES, mode=mode, grid=Grid(4), packed=True), out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["mode"] == mode
    quantized = MODES[mode].weights == "int8"
    assert manifest["parity"]["codes"] == (4 * 27 + 5 * 48 if quantized else 0)
    assert (manifest["parity"]["max_float_error"] is None) == (MODES[mode].activations != "float32")
    assert "integers in both files" in str(result.summary())
    found = edgeq.inspect(out / "model.tflite")
    assert found.inputs[0].dtype == MODES[mode].ends[0]
    stored = {row.name: row for row in found.tensors}["w"]
    assert (stored.dtype, stored.size_bytes) == {
        "int8": ("int4", 54), "int16": ("int4", 54), "dynamic": ("int4", 54),
        "float16": ("float16", 216), "float32": ("float32", 432),
    }[mode]  # fmt: skip


def test_uint8_ends_of_a_float_file_are_refused() -> None:
    with pytest.raises(RecipeError, match="a file of mode float16 has no uint8 ends"):
        ExportRequest({"x": np.zeros((1, 3, 5, 6), np.float32)}, mode="float16", io="uint8")
