"""``edgeq quantize`` in each mode: the folder it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from int8_models import float_proto, random_samples, weights
from torch import nn

import edgeq
from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.modes import MODES
from edgeq.posttraining import ExportRequest
from edgeq.tflite.read import read_file

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


def test_a_step_a_tensor_is_taken_from_the_whole_weight(tmp_path: Path) -> None:
    for per_channel, steps in ((True, [4, 5]), (False, [1, 1])):
        out = tmp_path / str(per_channel)
        edgeq.quantize(PROTO, ExportRequest(SAMPLES, per_channel=per_channel), out)
        grid = edgeq.load_grid(out / "grid.safetensors")
        assert [grid[name].step.size for name in ("w", "v")] == steps
        stored = {tensor.name: tensor for tensor in read_file(out / "model.tflite").tensors}
        found = [np.unique(stored[name].quantization.scale).size for name in ("w", "v")]  # type: ignore[union-attr]
        assert found == steps, "a convolution has it repeated, as its kernels want it"
    for name, weight in (("w", weights(4, 3, 3, 3)), ("v", weights(5, 48))):
        assert grid[name].step == pytest.approx(np.abs(weight).max() / 127)


def test_a_step_a_tensor_leaves_float_layers_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(48, 5)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), dense).eval()
    request = ExportRequest(SAMPLES["x"], per_channel=False, layers={"4": "float32"})
    edgeq.export(net, (3, 5, 6), request, tmp_path / "out")
    stored = {tensor.name: tensor for tensor in read_file(tmp_path / "out" / "model.tflite").tensors}
    assert stored["4.weight"].data is not None
    np.testing.assert_array_equal(stored["4.weight"].data.ravel(), _as_laid_out(dense.weight.detach().numpy()))


def _as_laid_out(dense: np.ndarray) -> np.ndarray:
    """A weight [O, C*H*W] as TFLite reads it after an image: [O, H*W*C]."""
    return dense.reshape(5, 4, 3, 4).transpose(0, 2, 3, 1).ravel()
