"""What layers of few bits read: values, gradients, the note in the file of weights, and the same codes everywhere."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeq.artifact import make_artifact
from edgeq.calibrate import load_calibration
from edgeq.errors import ExportError, FormatError, ModelError
from edgeq.export.float_onnx import check_export, export_float
from edgeq.models import load_weights, save_weights
from edgeq.recipe import Recipe, RoundingRecipe
from edgeq.rounding.activations import Levels, SignAboutMean, unrounded
from edgeq.rounding.attach import attach_activations
from edgeq.tflite.read import read_graph
from edgeq.verify.check import check_layers
from edgeq.verify.layers import compare_layers
from edgeq.verify.litert import run_all_tensors

SHAPE = (3, 8, 8)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 7),
        nn.BatchNorm1d(7),
        nn.Linear(7, 3),
    )


def attached(
    method: str, bits: int | None = None, ends: int | None = None, *, scaled: bool = False
) -> tuple[nn.Module, Recipe]:
    model = network()
    rounding = RoundingRecipe(activations=bits, ends=ends, input_scale=scaled)
    recipe = Recipe(method=method, rounding=rounding)  # type: ignore[arg-type]
    attach_activations(model, recipe, SHAPE)
    return model, recipe


def filled(model: nn.Module) -> nn.Module:
    """With statistics of its own."""
    model.train()
    for _ in range(30):
        model(torch.randn(16, *SHAPE))
    return model.eval()


def test_all_but_the_first_layer_read_signs_of_zero_mean() -> None:
    model, _ = attached("bnn")
    kinds = {name for name, module in model.named_modules() if isinstance(module, SignAboutMean)}
    assert kinds == {"3.activation", "8.activation", "10.activation"}
    read: dict[str, torch.Tensor] = {}
    for name in kinds:
        model.get_submodule(name).register_forward_hook(lambda module, _, out, name=name: read.update({name: out}))
    for mode in (True, False):
        filled(model).train(mode)(torch.randn(64, *SHAPE))
        for values in read.values():
            assert set(values.detach().numpy().ravel()) == {-1.0, 1.0}
            assert abs(values.detach().mean()) < 0.9  # though a ReLU leaves nothing below 0


def test_gradients_of_signs_pass_within_one_deviation() -> None:
    activation = SignAboutMean(3, images=False)
    x = torch.tensor([[-3.0, 1.0, 0.0], [1.0, 2.0, 0.1], [2.0, 3.0, 5.0], [3.0, 30.0, 0.2]], requires_grad=True)
    normalized = nn.functional.batch_norm(x, None, None, training=True)
    soft = torch.autograd.grad(normalized.clamp(-1, 1).square().sum(), x)[0]
    hard = torch.autograd.grad((activation(x) * 2 * normalized.detach().clamp(-1, 1)).sum(), x)[0]
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("training", [True, False])
def test_outputs_have_the_mean_size_of_what_the_layer_sees(training: bool) -> None:
    model, _ = attached("xnor-net", ends=0, scaled=True)
    filled(model).train(training)
    for name, shape in (("3", (4, 5, 8, 8)), ("8", (4, 24))):
        layer, x = model.get_submodule(name), torch.randn(shape)
        normalized = layer.get_submodule("activation.norm")(x)
        weight, stride, padding = layer.get_parameter("weight"), 2, 1
        if name == "3":
            seen = torch.ones(1, 5, 3, 3) / (5 * 9)
            size = nn.functional.conv2d(normalized.abs(), seen, stride=stride, padding=padding)
            plain = nn.functional.conv2d(normalized.sign(), weight, layer.get_parameter("bias"), stride, padding)
        else:
            size = normalized.abs().mean(1, keepdim=True)
            plain = nn.functional.linear(normalized.sign(), weight, layer.get_parameter("bias"))
        torch.testing.assert_close(layer(x), plain * size, rtol=1e-4, atol=1e-5)


def test_a_mean_that_is_no_pool_is_refused() -> None:
    for odd in ({"groups": 5}, {"dilation": 2}, {"padding": 2, "kernel_size": 3}, {"padding": "same"}):
        options: dict[str, Any] = {"kernel_size": 3, "padding": 1} | odd
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, **options), nn.Flatten(), nn.LazyLinear(3))
        model(torch.zeros(1, *SHAPE))
        recipe = Recipe(method="xnor-net", rounding=RoundingRecipe(input_scale=True))
        with pytest.raises(ModelError, match="layer 1"):
            attach_activations(model, recipe, SHAPE)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_levels_are_those_of_the_paper(bits: int) -> None:
    x = torch.linspace(-1, 2, 997, requires_grad=True)
    count = 2**bits - 1
    wanted = np.rint(np.clip(x.detach().numpy(), 0, 1) * count) / count
    for training in (True, False):
        found = Levels(bits).train(training)(x)
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-6)
    (Levels(bits).train()(x)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, ((x >= 0) & (x <= 1)).float())


@pytest.mark.parametrize(("method", "bits", "scaled"), [("bnn", 1, False), ("dorefa", 2, False), ("xnor-net", 1, True)])
def test_files_read_the_same_codes(method: str, bits: int, scaled: bool) -> None:
    """Each operation differs by one code at most between runtimes, and what layers read has no other codes."""
    model, recipe = attached(method, bits, ends=0, scaled=scaled)
    exported = export_float(filled(model), [SHAPE], output_names=["logits"])
    check_export(exported, model)
    samples = np.random.default_rng(0).normal(0, 1, (64, *SHAPE)).astype(np.float32)
    artifact = make_artifact(exported, {}, {"input": samples}, load_calibration("minmax"), plan=recipe.plan)
    graph, tensors = read_graph(artifact.content), None
    codes = [np.clip(samples[:8].transpose(0, 2, 3, 1) * 40, -128, 127).astype(np.int8)]
    check_layers(compare_layers(artifact.content, graph, artifact.qdq, artifact.conversion.layouts, codes))
    tensors = run_all_tensors(artifact.content, codes)
    kinds = {operator.kind for operator in graph.operators}
    layers = [op for op in graph.operators if op.kind in ("CONV_2D", "FULLY_CONNECTED")]
    assert len(layers) == 4
    for operator in layers[1:]:
        grid = graph.tensors[operator.inputs[0]].quantization
        assert grid is not None
        values = np.unique(np.concatenate([part.ravel() for part in tensors[operator.inputs[0]]]))
        real = (values.astype(np.float64) - grid.zero_point[0]) * grid.scale[0]
        if method == "dorefa":
            levels = real * (2**bits - 1)
            np.testing.assert_allclose(levels, levels.round(), atol=1e-5)
            assert 0 <= levels.min() < levels.max() <= 2**bits - 1 + 1e-5
            assert not kinds & {"MAXIMUM", "MINIMUM", "GATHER", "CAST"}  # the rounding is the kernels' own
        else:
            assert set(real) <= {-1.0, 0.0, 1.0}  # 0 is padding
            assert "DEPTHWISE_CONV_2D" in kinds
            assert not kinds & {"GREATER_EQUAL", "LESS", "SELECT_V2"}  # the sign is a kernel's saturation
            filters = [graph.tensors[op.inputs[1]] for op in graph.operators if op.kind == "DEPTHWISE_CONV_2D"]
            pooled = (3, 3) in {tensor.shape[1:3] for tensor in filters}
            assert (pooled and "MUL" in kinds) or not scaled


def test_the_network_comes_back_from_the_file_of_its_weights(tmp_path: Path) -> None:
    for method in ("bnn", "dorefa", "xnor-net"):
        model = filled(attached(method, scaled=method == "xnor-net")[0])
        save_weights(model, tmp_path / "weights.safetensors")
        plain = network()
        load_weights(plain, tmp_path / "weights.safetensors")
        x = torch.randn(4, *SHAPE)
        assert torch.equal(plain.eval()(x), model(x))
        again = copy.deepcopy(plain)
        assert torch.equal(again(x), model(x))
        attach_activations(again, Recipe(method="dorefa"), SHAPE)  # takes the place of what was there
        assert isinstance(again.get_submodule("3.activation"), Levels)


def test_an_export_that_computes_something_else_is_told_though_roundings_may_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for method in ("bnn", "dorefa"):
        model = filled(attached(method)[0])
        exported = export_float(model, [SHAPE])
        check_export(exported, model)
        assert all(part.rounds for part in model.modules() if isinstance(part, Levels | SignAboutMean))
    with unrounded(model):
        other = export_float(nn.Sequential(model, nn.ReLU()).eval(), [SHAPE])
    monkeypatch.setattr(importlib.import_module("edgeq.export.float_onnx"), "export_float", lambda *_: other)
    with pytest.raises(ExportError, match="does not compute"):
        check_export(exported, model)


def test_a_note_of_an_activation_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_weights(attached("bnn")[0], tmp_path / "weights.safetensors")
    tensors = load_file(tmp_path / "weights.safetensors")
    for spec in ('"Levels","bits":99', '"SignAboutMean","channels":7,"images":true', '"Nothing"'):
        note = f'{{"3.activation":[{{"type":{spec}}}]}}'
        save_file(tensors, tmp_path / "bad.safetensors", metadata={"structure": note})
        with pytest.raises(FormatError, match="does not fit"):
            load_weights(network(), tmp_path / "bad.safetensors")


def test_what_cannot_be_rounded_is_refused() -> None:
    model = network()
    model.get_submodule("3").activation = nn.ReLU()
    with pytest.raises(ModelError, match="layer 3"):
        attach_activations(model, Recipe(method="bnn"), SHAPE)
    small = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(ModelError, match="no layer between"):
        attach_activations(small, Recipe(method="bnn"), SHAPE)


def test_trained_activations_are_taken_out_of_a_float_model() -> None:
    from edgeq.export.trained_activations import take_trained_activations

    exported = export_float(filled(attached("dorefa", 2, ends=0)[0]), [SHAPE])
    grids = take_trained_activations(exported)
    assert len(grids) == 3
    assert {(round(grid.scale * 3, 6), grid.zero_point, round(grid.high, 6)) for grid in grids.values()} == {
        (1, 124, 1)
    }
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in exported.graph}
