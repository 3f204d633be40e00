"""Images through PyTorch and onnxruntime, and images as a file takes them."""

from __future__ import annotations

import numpy as np
import torch
from conftest import Build
from torch import nn

from edgeq.data import normalize
from edgeq.export.float_onnx import export_float
from edgeq.snap import load_grid
from edgeq.verify.check import as_file_input
from edgeq.verify.onnx_runtime import run_onnx
from edgeq.verify.pytorch import run_pytorch

IMAGES = np.random.default_rng(0).integers(0, 256, (130, 3, 5, 7)).astype(np.uint8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(60, 3))


def test_pytorch_and_onnxruntime_see_the_same_images_in_the_same_order() -> None:
    net = network()
    net.train()
    rows = run_pytorch(net, torch.from_numpy(IMAGES))
    assert rows.shape == (130, 3)
    with torch.no_grad():
        one = net(normalize(torch.from_numpy(IMAGES[77:78]))).numpy()  # left in evaluation mode: no dropout
    np.testing.assert_allclose(rows[77:78], one, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run_onnx(export_float(net, [(3, 5, 7)]), IMAGES), rows, rtol=1e-4, atol=1e-5)


def test_pixels_as_each_kind_of_file_takes_them() -> None:
    """uint8 bytes, the same minus 128, and (pixel - 128) / 128: all three stand for the same number, in NHWC."""
    taken = as_file_input(IMAGES, "uint8")
    assert taken.shape == (130, 5, 7, 3)
    assert taken[3, 4, 2, 1] == IMAGES[3, 1, 4, 2]
    np.testing.assert_array_equal(as_file_input(IMAGES, "int8").astype(int) + 128, taken)
    np.testing.assert_array_equal(as_file_input(IMAGES, "float32") * 128 + 128, taken)


def test_the_grid_file_of_a_build_has_every_layer(built: Build) -> None:
    assert set(load_grid(built.out / "grid.safetensors")) == {"conv1", "depthwise", "conv2", "fc1", "fc2"}
