from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeq.activations import ActivationRounding, find_sites, rounded
from edgeq.activations.rounding import round_to
from edgeq.calibrate.histogram import give_outputs
from edgeq.errors import ModelError
from edgeq.export.activations import ActivationGrid
from edgeq.export.decompose import decompose
from edgeq.export.float_onnx import export_float
from edgeq.export.fold import fold_model
from edgeq.export.qdq import quantized_values
from edgeq.models import create_model
from edgeq.onnx_session import open_session

SHAPE = (3, 12, 12)


class Odd(nn.Module):
    """Residual sums by operator and in place, ReLU as module, function and method, shared grids, a batch norm alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.norm, self.drop = nn.BatchNorm2d(12), nn.Dropout(0.3)
        self.fc1, self.fc2 = nn.Linear(12 * 9, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = nn.functional.avg_pool2d(y, 2)
        z = self.bn2(self.conv2(y))
        z += y
        z = z.relu() + self.conv2(y)
        z = torch.cat([torch.sigmoid(z), y], dim=1)
        z = self.drop(nn.functional.max_pool2d(nn.functional.relu6(self.norm(z)), 2))
        logits: Tensor = self.fc2(self.relu(self.fc1(z.flatten(1))))
        return logits


class Seen(ActivationRounding):
    """Keeps what passes at each site."""

    def visit(self, number: int, function: str, result: Tensor) -> Tensor:
        if (name := self.sites.names.get(number)) is not None:
            self.values[name] = result.detach().clone()
        return super().visit(number, function, result)

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.values: dict[str, Tensor] = {}


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    shape = SHAPE if name == "odd" else (3, 32, 32)
    model = Odd() if name == "odd" else create_model(name, num_classes=10, input_shape=shape, seed=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1, 1)
            assert module.running_mean is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    return model.eval(), shape


@pytest.mark.parametrize("name", ["odd", "lenet5", "resnet20", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_a_site_is_what_onnxruntime_computes_under_its_name(name: str) -> None:
    """Every value that the exporter puts on a grid: once at a site, or moved from one unchanged."""
    model, shape = network(name)
    rounding = Seen(find_sites(model, shape))
    image = torch.rand(1, *shape) * 2 - 1
    with torch.no_grad(), rounded(model, rounding):
        model(image)
    exported = export_float(model, [shape], output_names=["logits"])
    decompose(exported)
    fold_model(exported, {}, grid_of=lambda _layer: None)
    names = list(rounding.values)
    kept = {str(value.name) for value in quantized_values(exported)}
    assert kept == {member for group in rounding.sites.groups for member in group.members} & kept
    assert set(names) == set(rounding.sites.names.values()) <= kept
    found = open_session(exported, change=partial(give_outputs, names)).run(names, {"input": image.numpy()})
    for site, values in zip(names, found, strict=True):
        np.testing.assert_allclose(rounding.values[site].numpy(), values, atol=2e-4, rtol=1e-3, err_msg=site)


def test_what_is_fused_is_no_site() -> None:
    sites = find_sites(network("resnet20")[0], (3, 32, 32))
    functions = [sites.calls[number] for number in sites.names]
    assert "batch_norm" in functions  # of a residual branch: its sum is rounded again
    assert "conv2d" not in functions
    assert functions.count("add") == 0  # a Relu alone reads each
    assert functions[-2:] == ["mean", "linear"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grid", [ActivationGrid(0.037, -128), ActivationGrid(0.01, 17)])
def test_rounding_is_torchs_fake_quantization(grid: ActivationGrid, dtype: torch.dtype) -> None:
    """In float32 value and gradient; bfloat16 has fewer digits than a code of 8 bits."""
    values = torch.linspace(-6, 12, 1000).to(dtype).requires_grad_()
    twin = values.detach().float().requires_grad_()
    upstream = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    mine = round_to(values, grid)
    theirs = torch.fake_quantize_per_tensor_affine(twin, grid.scale, grid.zero_point, -128, 127)
    mine.backward(upstream.to(dtype))  # type: ignore[no-untyped-call]
    theirs.backward(upstream)  # type: ignore[no-untyped-call]
    assert mine.dtype == dtype
    assert values.grad is not None
    assert twin.grad is not None
    steps = 1.5 if dtype == torch.bfloat16 else 1e-3
    assert (mine.detach().float() - theirs.detach()).abs().max() <= steps * grid.scale
    ends = ((twin - grid.low) / grid.scale + 0.5).abs().lt(1) | ((twin - grid.high) / grid.scale - 0.5).abs().lt(1)
    assert torch.equal(values.grad[~ends].float(), twin.grad.to(dtype)[~ends].float())


def test_ranges_follow_the_images_and_stay_when_held() -> None:
    """By hand: between the images' ends nine tenths of the way out, then nine parts of it and one of the next."""
    model = nn.Sequential(nn.Flatten(), nn.Identity(), nn.ReLU())
    rounding = ActivationRounding(find_sites(model, (1, 1, 2)))
    (name,) = rounding.sites.names.values()
    batches = [torch.tensor([[[[1.0, 2.0]]], [[[3.0, 8.0]]]]), torch.tensor([[[[0.0, 4.0]]], [[[5.0, 11.0]]]])]
    rounding.watching = True
    with rounded(model, rounding):
        assert torch.equal(model(batches[0]), batches[0].flatten(1))  # nothing to round to yet
        assert rounding.seen[name] == pytest.approx((1.2, 7.4))
        assert model(batches[1]).max() == pytest.approx(7.4)
        assert rounding.seen[name] == pytest.approx((0.9 * 1.2 + 0.1 * 0.5, 0.9 * 7.4 + 0.1 * 10.3))
        rounding.watching, held = False, dict(rounding.seen)
        model(100 * batches[0])
    assert rounding.seen == held


def test_a_network_that_cannot_be_traced_is_refused_in_one_line() -> None:
    class Token(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(x.flatten(1), 1)

    with pytest.raises(ModelError, match=r"does not trace one by one.*--activations float"):
        find_sites(Token(), SHAPE)


def test_a_network_that_trains_otherwise_is_told_of() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            logits: Tensor = self.fc(x * 2 if self.training else x)
            return logits

    model = Two()
    rounding = ActivationRounding(find_sites(model, (1, 2, 2)))
    with rounded(model, rounding), pytest.raises(ModelError, match="in training than in evaluation"):
        model.train()(torch.ones(2, 1, 2, 2))
    assert torch._C._len_torch_function_stack() == 0
    assert not model._forward_hooks


def test_the_network_is_left_as_it_was() -> None:
    model = Odd().train()
    names = set(vars(model))
    find_sites(model, SHAPE)
    assert model.training
    assert set(vars(model)) == names
