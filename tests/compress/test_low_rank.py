"""Factored layers: full rank is the layer, less is the best of its rank, and the rules for ranks keep to what they
promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import Watch, images
from torch import nn

from edgeq.compress import Context, method_from_option
from edgeq.compress.count import Place, count_model, places
from edgeq.compress.factor import tucker2
from edgeq.compress.ranks import keeping
from edgeq.compress.replacements import Depthwise, Matrix, Replacement, Spatial, Tucker
from edgeq.data import ImageData
from edgeq.errors import ModelError, RecipeError
from edgeq.models import build_network, load_weights, save_weights
from edgeq.models.layers import Repeat
from edgeq.models.structure import structure_of
from edgeq.recipe import Recipe, recipe_from_dict

Kind = type[Replacement[Any]]
SIZES = (9, 7)

LAYERS: dict[str, tuple[Kind, Callable[[], nn.Linear | nn.Conv2d]]] = {
    "linear": (Matrix, lambda: nn.Linear(6, 11)),
    "linear without bias": (Matrix, lambda: nn.Linear(12, 5, bias=False)),
    "1x1 with stride": (Matrix, lambda: nn.Conv2d(6, 10, 1, 2)),
    "Tucker": (Tucker, lambda: nn.Conv2d(6, 10, 3, padding=1)),
    "Tucker, oblong": (Tucker, lambda: nn.Conv2d(6, 10, (3, 2), (2, 1), (0, 1), (1, 2), bias=False)),
    "spatial": (Spatial, lambda: nn.Conv2d(6, 10, 3, padding=1)),
    "spatial, oblong": (Spatial, lambda: nn.Conv2d(6, 10, (3, 2), (2, 1), (2, 1), (1, 2), bias=False)),
    "depthwise": (Depthwise, lambda: nn.Conv2d(6, 10, 3, padding=1)),
    "depthwise, oblong": (Depthwise, lambda: nn.Conv2d(6, 10, (3, 2), (2, 1), (0, 1), (1, 2), bias=False)),
}


def _made(name: str) -> tuple[Replacement[Any], torch.Tensor]:
    torch.manual_seed(len(name))
    kind, make = LAYERS[name]
    layer = make().requires_grad_(False)
    shape = (layer.in_features,) if isinstance(layer, nn.Linear) else (layer.in_channels, *SIZES)
    sizes = places(nn.Sequential(layer), shape)["0"]
    return kind("layer", layer, sizes), torch.randn(2, *shape)


def _full(item: Replacement[Any]) -> tuple[int, ...]:
    return tuple(len(values) for values in item.spectra)


def _kernel(item: Replacement[Any], ranks: tuple[int, ...]) -> torch.Tensor:
    """What a convolution with any padding and stride computes, as a dense weight: its answers to single ones."""
    net = nn.Sequential(*item.layers(ranks)).requires_grad_(False)
    full: torch.Tensor
    if isinstance(item.layer, nn.Linear):
        ones = torch.eye(item.layer.in_features)
        full = (net(ones) - net(torch.zeros_like(ones))).T
        return full
    inputs, (high, wide) = item.layer.in_channels, item.layer.kernel_size
    for part in net:
        if isinstance(part, nn.Conv2d):
            part.stride, part.padding, part.dilation = (
                (1, 1),
                (part.kernel_size[0] - 1, part.kernel_size[1] - 1),
                (1, 1),
            )
    ones = torch.eye(inputs)[..., None, None]
    full = (net(ones) - net(torch.zeros_like(ones))).flip(2, 3)
    assert full.shape[2:] == (high, wide)
    return full.transpose(0, 1)


@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_is_the_layer(name: str) -> None:
    item, given = _made(name)
    for rank in (_full(item), (_full(item)[0], *(size - 1 for size in _full(item)[1:]))):
        net = nn.Sequential(*item.layers(rank))
        wanted = item.layer(given)
        assert net(given).shape == wanted.shape
        if rank == _full(item):
            torch.testing.assert_close(net(given), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, (kind, _) in LAYERS.items() if kind is not Tucker])
def test_the_error_is_the_tail_of_the_singular_values(name: str) -> None:
    item, _ = _made(name)
    for rank in (1, 2, _full(item)[0] - 1):
        error = (_kernel(item, (rank,)) - item.layer.weight).double().square().sum()
        tail = item.spectra[0][rank:].square().sum()
        assert float(error) == pytest.approx(float(tail), rel=1e-4)


@pytest.mark.parametrize("ranks", [(3, 2), (10, 2), (4, 6), (1, 1)])
def test_the_error_of_tucker_is_between_its_bounds(ranks: tuple[int, int]) -> None:
    item, _ = _made("Tucker")
    error = float((_kernel(item, ranks) - item.layer.weight).double().square().sum())
    tails = [float(values[rank:].square().sum()) for values, rank in zip(item.spectra, ranks, strict=True)]
    assert max(tails) * 0.999 <= error <= sum(tails) * 1.001


def test_hooi_does_not_worsen_the_truncated_hosvd() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(10, 6, 3, 3, dtype=torch.float64)
    left = [torch.linalg.svd(kernel.transpose(0, axis).flatten(1)).U[:, :3] for axis in (0, 1)]
    hosvd = torch.einsum("oihw,or,is,pr,qs->pqhw", kernel, left[0], left[1], left[0], left[1])
    out, core, into = tucker2(kernel, (3, 3))
    hooi = torch.einsum("pr,rshw,sq->pqhw", out, core, into)
    assert (kernel - hooi).norm() < (kernel - hosvd).norm()


@pytest.mark.parametrize("name", LAYERS)
def test_multiply_adds_are_those_of_the_layers(name: str) -> None:
    item, given = _made(name)
    for ranks in (tuple(max(1, size // 2) for size in _full(item)), _full(item)):
        net = nn.Sequential(*item.layers(ranks))
        assert item.macs(ranks) == count_model(net, tuple(given.shape[1:]))["macs"]
    assert item.macs_now == count_model(nn.Sequential(item.layer), tuple(given.shape[1:]))["macs"]


def test_multiply_adds_follow_the_formulas() -> None:
    """N^2 K L of a convolution, N P (K + L) of a separable and I K (N^2 + L) of a depthwise one, a place."""
    layer, place = nn.Conv2d(20, 30, 5, padding=2), Place((8, 8), (8, 8))
    assert Spatial("", layer, place).macs((7,)) == 5 * 7 * (20 + 30) * 64
    assert Depthwise("", layer, place).macs((2,)) == 2 * 20 * (25 + 30) * 64
    assert Tucker("", layer, place).macs((8, 4)) == (20 * 4 + 4 * 8 * 25 + 8 * 30) * 64
    assert Matrix("", nn.Linear(100, 100), Place((), ())).macs((20,)) == 2 * 100 * 20


def test_a_share_of_energy_is_kept_and_no_more_than_needed() -> None:
    item, _ = _made("linear without bias")
    (values,) = item.spectra
    for energy in (0.3, 0.6, 0.9):
        found = keeping([item], energy, 1)
        rank = found.get("layer", (len(values),))[0]
        share = values.square().cumsum(0) / values.square().sum()
        if found:
            assert share[rank - 1] >= energy
            assert rank == 1 or share[rank - 2] < energy


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1, groups=4), nn.ReLU(),
        nn.Conv2d(24, 32, 1), nn.Flatten(), nn.Linear(512, 64), nn.Linear(64, 3),
    ).eval()  # fmt: skip


def _compressed(option: str) -> tuple[float, nn.Sequential, nn.Sequential]:
    before, model = _network(), _network()
    method_from_option(option).apply(model, Context(images(120), Recipe()))
    shape = (3, 8, 8)
    return count_model(model, shape)["macs"] / count_model(before, shape)["macs"], before, model


@pytest.mark.parametrize("method", ["low-rank", "spatial-separable,skip=['0']", "depthwise-separable"])
@pytest.mark.parametrize("budget", [0.85, 0.7])
def test_a_budget_is_met_and_nearly_used(method: str, budget: float) -> None:
    share, _, _ = _compressed(f"{method},macs={budget},multiple=1")
    assert budget - 0.1 < share <= budget


@pytest.mark.parametrize(("target", "multiple"), [("cortex-a75", 16), ("cortex-a7", 8)])
def test_ranks_are_multiples_of_the_channels_that_a_target_computes_at_a_time(target: str, multiple: int) -> None:
    before, model = _network(), _network()
    method_from_option("low-rank,energy=0.4").apply(model, Context(images(9), Recipe(target=target)))
    for part in (part for layer in model if isinstance(layer, nn.Sequential) for part in list(layer)[:-1]):
        assert isinstance(part, nn.Conv2d | nn.Linear)
        assert part.weight.shape[0] % multiple == 0
    assert type(model[8]) is nn.Sequential
    assert model[4].weight.shape == before[4].weight.shape  # grouped: left alone


def test_ranks_are_finer_where_a_budget_cannot_be_met_otherwise() -> None:
    with pytest.raises(ModelError, match="no ranks are as small"):
        _compressed("low-rank,macs=0.65,multiple=16")
    share, _, _ = _compressed("low-rank,macs=0.65")
    assert share <= 0.65


def _resnet20(option: str, target: str) -> tuple[set[str], list[str]]:
    """The stages that a method changes, and what it warns of."""
    pixels, labels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    data = ImageData("blank", pixels, labels, pixels, labels, tuple("0123456789"))
    model, heard = build_network("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0).eval(), Watch()
    method_from_option(option).apply(model, Context(data, Recipe(target=target), heard))
    return {path.split(".")[0] for path in structure_of(model)}, heard.warnings


def test_a_budget_is_met_where_instructions_follow() -> None:
    """On an A75, of the widest layers' kernels as long as they suffice."""
    stages = [_resnet20(f"low-rank,macs={text}", "cortex-a75")[0] for text in ("0.8", "0.8,slope=0", "0.6")]
    assert stages == [{"layer3"}, {"layer2", "layer3"}, {"layer2", "layer3"}]


def test_what_gets_slower_on_the_target_is_said() -> None:
    """Two depthwise filters a channel: SDOT makes a dense 3x3 convolution of 16 channels faster than that."""
    (warning,) = _resnet20("depthwise-separable,multiplier=2", "cortex-a75")[1]
    assert "only the file gets smaller: on cortex-a75 more instructions" in warning
    assert "layer1.0.conv1" in warning
    assert "layer3.1.conv1" not in warning
    assert _resnet20("depthwise-separable,multiplier=2", "cortex-a7")[1] == []


def test_several_filters_a_channel_are_one_of_repeated_channels() -> None:
    """XNNPACK's depthwise kernels know one filter a channel: with several a ResNet-20 took six times as long."""
    _, _, model = _compressed("depthwise-separable,multiplier=2")
    repeat, each, last = (model.get_submodule(f"2.{index}") for index in range(3))
    assert isinstance(repeat, Repeat)
    assert isinstance(each, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    assert each.groups == each.in_channels == each.out_channels == last.in_channels == 2 * 16


def test_a_tolerance_is_kept_on_the_training_images() -> None:
    data = images(120)
    model = _network()
    given, labels = Context(data, Recipe()).images(120)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(given), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right = float((model(given).argmax(1) == labels).float().mean())
    macs = count_model(model, (3, 8, 8))["macs"]
    method_from_option("low-rank,tolerance=2,multiple=1").apply(model, Context(data, Recipe()))
    assert float((model(given).argmax(1) == labels).float().mean()) >= right - 0.02
    assert count_model(model, (3, 8, 8))["macs"] < 0.8 * macs


def test_a_relu_stands_between_where_it_is_asked_for() -> None:
    _, _, model = _compressed("spatial-separable,energy=0.5,multiple=1,relu=true")
    assert [type(part) for part in model[2].children()] == [nn.Conv2d, nn.ReLU, nn.Conv2d]


@pytest.mark.parametrize("option", ["low-rank,macs=0.01", "low-rank,energy=1.0", "low-rank,energy=0.5,skip=['*']"])
def test_what_cannot_be_reached_is_refused(option: str) -> None:
    with pytest.raises(ModelError, match="compress low-rank"):
        _compressed(option)


@pytest.mark.parametrize(
    "option",
    ["low-rank", "low-rank,energy=0.5,macs=0.5", "low-rank,energy=1.5", "low-rank,energy=0.5,each=true",
     "depthwise-separable,multiplier=1,energy=0.5", "spatial-separable,tolerance=100"],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(RecipeError, match="compress"):
        method_from_option(option)


def test_what_was_replaced_twice_comes_back_from_its_file(tmp_path: Path) -> None:
    data, model = images(9), _network()
    for option in ("spatial-separable,energy=0.7,multiple=1,skip=['0']", "low-rank,energy=0.3,multiple=1"):
        method_from_option(option).apply(model, Context(data, Recipe()))
    assert type(model.get_submodule("2.0")) is type(model.get_submodule("2.1")) is nn.Sequential
    save_weights(model, tmp_path / "net.safetensors")
    load_weights(again := _network(), tmp_path / "net.safetensors")
    given = torch.randn(2, 3, 8, 8)
    assert torch.equal(again(given), model(given))


def test_layers_whose_weights_are_kept_are_not_replaced_after_that() -> None:
    tables = [{"method": "prune-magnitude", "sparsity": 0.5}, {"method": "low-rank", "macs": 0.5}]
    with pytest.raises(RecipeError, match="put low-rank before prune-magnitude"):
        recipe_from_dict({"compress": tables})
    assert recipe_from_dict({"compress": tables[::-1]}).compress[0].name == "low-rank"
