from __future__ import annotations

import narrow_nets
import numpy as np
import onnx_ir as ir
import pytest
import torch
from int8_models import Arrays
from narrow_nets import NARROW
from numpy.typing import NDArray
from torch import nn

from edgeq.errors import ExportError
from edgeq.export import aten, float_onnx
from edgeq.export.float_onnx import OPSET, check_export, export_float
from edgeq.onnx_session import open_session

FAMILIES = ("autoencoder", "densenet", "ds_cnn_1d", "mobilenet_v3")
BY_TORCH_ONNX = ("mixer", "shufflenet_v2", "vit")  # layer norm, split and the like have no row
IMAGE = (3, 9, 12)


def translate(model: nn.Module, shape: tuple[int, ...]) -> ir.Model | None:
    with torch.no_grad():
        program = torch.export.export(model.eval(), (torch.zeros(1, *shape),), strict=False)
    return aten.translate(program, ["input"], None, OPSET)


def results(model: ir.Model, inputs: Arrays) -> list[NDArray[np.float32]]:
    outputs: list[NDArray[np.float32]] = open_session(model).run(None, inputs)
    return outputs


@pytest.mark.parametrize("name", BY_TORCH_ONNX)
def test_what_has_no_row_is_left_to_torch_onnx(name: str) -> None:
    assert translate(getattr(narrow_nets, name)(), NARROW[name]) is None


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_is_that_of_torch_onnx(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = getattr(narrow_nets, name)()
    mine = export_float(model, [NARROW[name]])
    monkeypatch.setattr(float_onnx, "translate", lambda *arguments: None)
    other = export_float(model, [NARROW[name]])
    assert [(node.op_type, node.name) for node in mine.graph] == [(node.op_type, node.name) for node in other.graph]
    assert [value.shape for node in mine.graph for value in node.outputs] == [
        value.shape for node in other.graph for value in node.outputs
    ]
    x = torch.randn(1, *NARROW[name])
    wanted = model.eval()(x).detach().numpy()
    for exported in (mine, other):
        np.testing.assert_allclose(results(exported, {"input": x.numpy()})[0], wanted, atol=1e-5 * np.abs(wanted).max())


class Calls(nn.Module):
    """A function as a network, with a convolution and two batch norms to call."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.conv, self.bn, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = eval(self.function, {"x": x, "torch": torch, "F": torch.nn.functional, **self._modules})
        return result


IN_PLACE = {
    "F.relu(bn(conv(x)), inplace=True)": True,
    "bn(conv(x)).add_(x)": True,
    "F.hardswish(F.relu6(bn(conv(x)), inplace=True), inplace=True)": True,
    "(lambda y: F.relu(y, inplace=True) + y)(conv(x))": True,  # torch's graph adds the changed y
    "(lambda y: F.relu(y.flatten(1), inplace=True) + y.flatten(1))(conv(x))": False,
    "(lambda y: F.relu(y, inplace=True) + y)(F.dropout(conv(x), training=False))": False,
    "F.relu(x.view(1, 3, 12, 9), inplace=True) + conv(x).view(1, 3, 12, 9)": False,  # changes the network's input
}


@pytest.mark.parametrize(("function", "translated"), IN_PLACE.items())
def test_what_is_changed_in_place_is_read_as_torch_reads_it(function: str, translated: bool) -> None:
    torch.manual_seed(0)
    model = Calls(function)
    assert (translate(model, IMAGE) is not None) == translated
    x = torch.randn(1, *IMAGE)
    wanted = model.eval()(x.clone()).detach().numpy()
    np.testing.assert_allclose(results(export_float(model, [IMAGE]), {"input": x.numpy()})[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        "F.max_pool2d(conv(x), 3, 2, 1, ceil_mode=True)",
        "F.max_pool2d(conv(x), (3, 2), dilation=(1, 2))",
        "F.max_pool2d(x, 2, 2, 1, ceil_mode=True)",  # torch drops the window that would start in the padding
        "F.avg_pool2d(conv(x), 3, 2, 1)",
        "F.avg_pool2d(conv(x), 3, 2, 1, count_include_pad=False, ceil_mode=True)",
        "F.avg_pool2d(conv(x), 3, 2, 1, ceil_mode=True)",
        "F.adaptive_avg_pool2d(conv(x), 1)",
        "F.adaptive_avg_pool2d(conv(x), (3, 4))",
        "F.pad(conv(x), (1, 2, 3, 0))",
        "F.pad(conv(x), (1, 2), value=1.0)",
        "torch.add(conv(x), x, alpha=2)",
        "2.0 * conv(x) - 1 + x * torch.tensor(3.0)",
        "conv(x).permute(0, 2, 3, 1).transpose(1, -1).reshape(1, -1)",
        "torch.cat([conv(x), x], -3).mean((-1, 1))",
        "F.hardtanh(conv(x), -0.5, 2.0)",
        "F.conv2d(x, conv.weight, padding='same', stride=1)",
        "F.conv_transpose2d(x, conv.weight, stride=2, padding=1, output_padding=1)",
        "conv(x) + conv(x + 1)",
        "F.batch_norm(conv(x), bn.running_mean, bn.running_var)",
    ],
)
def test_calls_compute_what_torch_computes(function: str) -> None:
    torch.manual_seed(0)
    model = Calls(function)
    model.load_state_dict({name: torch.rand_like(value.float()) + 0.5 for name, value in model.state_dict().items()})
    x = torch.randn(1, *IMAGE)
    wanted = model.eval()(x).detach().numpy()
    found = results(export_float(model, [IMAGE]), {"input": x.numpy()})[0]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_what_torch_onnx_gets_wrong_is_told() -> None:
    model = Calls("F.avg_pool2d(conv(x), 3, divisor_override=4)")  # torch 2.13 exports it without the divisor
    with pytest.raises(ExportError, match=r"does not compute what PyTorch computes .*relative difference of 0\.5"):
        check_export(export_float(model, [IMAGE]), model)
    assert model.training
    sound = Calls("conv(x)")
    check_export(export_float(sound, [IMAGE]), sound)


def test_weights_are_shared_and_outputs_named() -> None:
    model = Calls("[bn(conv(x)), other(conv(x))]")
    exported = export_float(model, [IMAGE], output_names=["first", "second"])
    assert [value.name for value in exported.graph.outputs] == ["first", "second"]
    weight = exported.graph.initializers["conv.weight"].const_value
    assert weight is not None
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] = 7
    assert weight.numpy()[0, 0, 0, 0] == 7


@pytest.mark.parametrize("function", ["x", "[conv(x)] * 2", "conv(x).argmax(1)", "(conv(x), 3)", "conv(x).double()"])
def test_other_outputs_are_left_to_torch_onnx(function: str) -> None:
    assert translate(Calls(function), IMAGE) is None
