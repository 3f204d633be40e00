from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from int8_models import assert_layers_agree, kinds, parity, run_onnxruntime
from torch import nn

from edgeq.artifact import check_convertible, make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.errors import ExportError
from edgeq.export.float_onnx import export_float
from edgeq.grid import Grid
from edgeq.snap import snap
from edgeq.tflite.read import read_graph
from edgeq.verify.integers import compare_integers


class Block(nn.Module):
    """Pre-activation, an option-A shortcut, a convolution that is used twice with batch norms of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.shared = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.pre = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.act, self.pool = nn.ReLU6(), nn.AdaptiveAvgPool2d(1)
        self.fc1, self.bn3, self.fc2 = nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        y = torch.relu(self.pre(x))
        y = torch.relu(self.bn1(self.shared(y)))
        y = self.bn2(self.shared(y)) + x
        short = nn.functional.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        y = self.act(self.down(y) + short)
        y = torch.flatten(self.pool(y), 1)
        result: torch.Tensor = self.fc2(torch.relu(self.bn3(self.fc1(y))))
        return result


def block() -> Block:
    torch.manual_seed(0)
    model = Block().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            with torch.no_grad():
                module.weight.copy_(torch.randn_like(module.weight))
                module.weight[1] = 0
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def exported() -> tuple[Block, ir.Model]:
    model = block()
    return model, export_float(model, [(3, 9, 11)], output_names=["logits"])


def test_the_file_computes_what_the_module_does(exported: tuple[Block, ir.Model]) -> None:
    model, onnx_model = exported
    x = torch.randn(4, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(x).numpy()
    np.testing.assert_allclose(run_onnxruntime(onnx_model, {"input": x.numpy()})[0], wanted, rtol=1e-4, atol=1e-5)


def test_tensors_are_named_after_modules(exported: tuple[Block, ir.Model]) -> None:
    _, onnx_model = exported
    names = set(onnx_model.graph.initializers)
    assert {f"{name}.weight" for name in ("first", "shared", "down", "fc1", "fc2")} <= names
    assert [value.name for value in onnx_model.graph.outputs] == ["logits"]
    assert {"first", "down", "fc1"} <= {node.outputs[0].name for node in onnx_model.graph}
    assert not any(node.metadata_props for node in onnx_model.graph)


def test_trained_codes_reach_both_files() -> None:
    """A per-tensor grid through shared weights, batch norms of either sign and a silenced channel, byte for byte."""
    model = block()
    trained = snap(model, Grid(8))
    onnx_model = export_float(model, [(3, 9, 11)])
    samples = {"input": np.random.default_rng(0).standard_normal((8, 3, 9, 11)).astype(np.float32)}
    artifact = make_artifact(onnx_model, trained, samples, CalibrationRecipe())
    graph = read_graph(artifact.content)
    layouts = artifact.conversion.layouts
    count = compare_integers(trained, artifact.qdq, graph, layouts)
    assert count >= sum(weight.codes.size for weight in trained.values())
    assert "TRANSPOSE" not in kinds(graph)
    assert not {"QUANTIZE", "MAXIMUM", "MINIMUM"} & set(kinds(graph))
    assert_layers_agree(parity(artifact.content, artifact.qdq, layouts, samples))


def test_the_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_float(model, [(3, 5, 7)])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


def test_what_torch_cannot_trace_is_told_in_one_line() -> None:
    with pytest.raises(ExportError, match="torch cannot export") as caught:
        export_float(Branches(), [(3, 5, 7)])
    assert "\n" not in str(caught.value)


def test_an_operation_without_an_int8_form_is_named_before_training() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.LogSoftmax(1))
    with pytest.raises(ExportError, match=r"node 1\..*no int8 form"):
        check_convertible(export_float(model, [(3, 5, 7)]))
