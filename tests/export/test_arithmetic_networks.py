"""Networks of one or two torch modules each, from the module to int8 TFLite, with every integer found in both files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from int8_models import assert_layers_agree, kinds, parity
from torch import nn

from edgeq.artifact import make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.export.float_onnx import export_float
from edgeq.posttraining import _all_weights
from edgeq.tflite.read import read_graph
from edgeq.verify.integers import compare_integers

SEQUENCE, IMAGE, VECTOR = (8, 20), (8, 8, 12), (8,)
NETWORKS: dict[str, tuple[tuple[int, ...], str, Callable[[], list[nn.Module]]]] = {
    "sequence": (
        SEQUENCE,
        "RESHAPE TRANSPOSE CONV_2D MAX_POOL_2D DEPTHWISE_CONV_2D RESHAPE TRANSPOSE",
        lambda: [nn.Conv1d(8, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2),
                 nn.Conv1d(6, 12, 3, groups=6)],
    ),
    "transposed": (
        IMAGE,
        "TRANSPOSE_CONV STRIDED_SLICE",
        lambda: [nn.ConvTranspose2d(8, 6, 3, 2, 1, 1), nn.BatchNorm2d(6), nn.ReLU()],
    ),
    "transposed sequence": (
        SEQUENCE,
        "RESHAPE TRANSPOSE TRANSPOSE_CONV RESHAPE TRANSPOSE",
        lambda: [nn.ConvTranspose1d(8, 6, 4, 2, 1), nn.ReLU()],
    ),
    "batch norm first": (
        IMAGE,
        "DEPTHWISE_CONV_2D CONV_2D",
        lambda: [nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1)],
    ),
    "batch norm of a vector": (
        VECTOR,
        "FULLY_CONNECTED RESHAPE DEPTHWISE_CONV_2D RESHAPE FULLY_CONNECTED",
        lambda: [nn.Linear(8, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 3)],
    ),
    "gate": (
        IMAGE,
        "MEAN CONV_2D CONV_2D ADD MUL",
        lambda: [nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Hardsigmoid()],
    ),
    "any clip": (IMAGE, "CONV_2D", lambda: [nn.Conv2d(8, 6, 3), nn.Hardtanh(-0.3, 0.4)]),
    "pixels": (
        IMAGE,
        "RESHAPE TRANSPOSE RESHAPE CONV_2D RESHAPE TRANSPOSE RESHAPE DEPTH_TO_SPACE",
        lambda: [nn.PixelUnshuffle(2), nn.Conv2d(32, 12, 1), nn.PixelShuffle(2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_modules(name: str) -> None:
    shape, becomes, modules = NETWORKS[name]
    torch.manual_seed(0)
    model = nn.Sequential(*modules())
    for module in model:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    samples = {"input": np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)}
    artifact = make_artifact(export_float(model, [shape]), {}, samples, CalibrationRecipe())
    graph = read_graph(artifact.content)
    assert " ".join(kinds(graph)) == becomes
    assert_layers_agree(parity(artifact.content, artifact.qdq, artifact.conversion.layouts, samples))
    weights = _all_weights({}, artifact)
    codes = compare_integers(weights, artifact.qdq, graph, artifact.conversion.layouts)
    assert codes == sum(weight.codes.size for weight in weights.values()) > 0
