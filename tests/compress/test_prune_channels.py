"""Channels that are taken out: the network computes as if nobody read them, and criteria are what their papers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import images
from torch import Tensor, nn

from edgeq.compress.channel_choice import Choice
from edgeq.compress.channel_cut import macs_kept, take_out
from edgeq.compress.channel_graph import ChannelGraph
from edgeq.compress.channel_scores import activity, distort, fisher, magnitude
from edgeq.compress.channel_walk import find_channels
from edgeq.compress.count import count_model
from edgeq.compress.method import Context
from edgeq.compress.prune_channels import PruneChannels
from edgeq.errors import ModelError, RecipeError
from edgeq.models import build_network, create_model, load_weights, save_weights
from edgeq.recipe import Recipe, recipe_from_dict

SHAPE = (3, 16, 16)


def _network(name: str, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    """With norms as after a training."""
    model = build_network(name, num_classes=5, input_shape=shape, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data = torch.rand(module.bias.shape, generator=generator) - 0.5
            module.running_mean = torch.rand(module.bias.shape, generator=generator) - 0.5
    return model


def _some(graph: ChannelGraph, share: float = 0.6) -> np.ndarray:
    """Random classes, at least one of each layer."""
    kept = np.random.default_rng(0).random(graph.classes) < share
    kept[0] = True
    for layer in graph.layers.values():
        kept[layer.outputs[0]] |= not kept[layer.outputs].any()
    return kept


def _small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 12), nn.ReLU(),
        nn.Linear(12, 5),
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("resnet20", 12),  # 9 inside blocks, 3 of stages
        ("shufflenet_v2", 18),  # the stem, the last, inside branches; what is parted and shuffled by number stays
        ("mobilenet_v3_small", 27),  # depthwise and squeeze-and-excite gates go with their channels
        ("squeezenet", 25),  # concatenations
        ("autoencoder", 5),  # transposed convolutions
    ],
)
def test_a_network_without_channels_computes_as_if_nobody_read_them(name: str, groups: int, tmp_path: Path) -> None:
    shape = (3, 32, 32) if name == "squeezenet" else SHAPE
    model = _network(name, shape)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    graph = find_channels(model, shape, 2)
    assert len(graph.groups) == groups
    kept = _some(graph)
    macs = macs_kept(graph, kept)
    assert take_out(model, graph, kept, images) > 0  # it compares the outputs
    if name != "autoencoder":  # not counted there: transposed convolutions
        assert count_model(model, shape)["macs"] == macs
    save_weights(model, tmp_path / "net.safetensors")
    load_weights(again := _network(name, shape), tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(again(images), model(images))


def test_channels_of_a_residual_stage_go_together_and_ends_stay() -> None:
    model = _network("resnet20")
    graph = find_channels(model, SHAPE)
    stage = [graph.layers[path].outputs for path in ("conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.bn2")]
    assert all((outputs == stage[0]).all() and outputs.all() for outputs in stage)
    assert not graph.layers["conv1"].inputs.any()
    assert not graph.layers["fc"].outputs.any()


@pytest.mark.parametrize("name", ["vit_tiny16", "mixer_s16"])
def test_only_inner_units_of_token_networks_can_go(name: str) -> None:
    model = build_network(name, num_classes=5, input_shape=(3, 32, 32), seed=0).eval()
    graph = find_channels(model, (3, 32, 32), 2)
    free = {path for path, layer in graph.layers.items() if layer.outputs.any()}
    assert free
    assert all(path.startswith("blocks.") and path.endswith(".fc1") for path in free)
    take_out(model, graph, _some(graph), torch.randn(2, 3, 32, 32))


class _Fixed(nn.Module):
    """Its code has a number of channels in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x).relu().reshape(x.shape[0], 8 * 14 * 14))
        return y


def test_code_with_numbers_of_channels_is_refused() -> None:
    model = _Fixed().eval()
    graph = find_channels(model, SHAPE)
    with pytest.raises(ModelError, match="without the channels"):
        take_out(model, graph, _some(graph), torch.randn(1, *SHAPE))


def test_activity_is_one_less_the_average_share_of_zeros() -> None:
    model = _small()
    pixels = torch.randn(8, 3, 16, 16)
    graph = find_channels(model, SHAPE, 4)
    found = activity(graph, pixels)
    with torch.no_grad():
        conv = (model[:2](pixels) != 0).double().mean((0, 2, 3))
        linear = (model[:6](pixels) != 0).double().mean(0)
    np.testing.assert_allclose(found[graph.layers["0"].outputs], conv)
    np.testing.assert_allclose(found[graph.layers["4"].outputs], linear)


def test_fisher_is_the_mean_square_of_the_gradient_by_a_gate() -> None:
    model, labels = _small(), torch.arange(4) % 5
    pixels = torch.randn(4, 3, 16, 16)
    graph = find_channels(model, SHAPE, 2)
    found = fisher(graph, pixels, labels)
    rises = []
    for image, label in zip(pixels, labels, strict=True):
        gates = torch.ones(8, requires_grad=True)
        logits = model[2:](model[:2](image[None]) * gates.view(1, -1, 1, 1))
        loss = nn.functional.cross_entropy(logits, label[None])
        rises.append(torch.autograd.grad(loss, gates)[0] ** 2)
    np.testing.assert_allclose(found[graph.layers["0"].outputs], torch.stack(rises).mean(0) / 2, rtol=1e-4)


def test_magnitude_takes_the_smallest_filters() -> None:
    model = _small()
    model.get_parameter("0.weight").data[[1, 6]] *= 0.01
    graph = find_channels(model, SHAPE)
    choice = Choice(graph, graph.groups, [len(group) for group in graph.groups], magnitude(model, graph), 1, 1)
    assert (~choice.by_share(0.75)[graph.layers["0"].outputs]).nonzero()[0].tolist() == [1, 6]


@pytest.mark.parametrize(("multiple", "left"), [(1, 5), (4, 8), (16, 8)])
def test_kept_channels_are_rounded_up(multiple: int, left: int) -> None:
    model = _small()
    graph = find_channels(model, SHAPE)
    full = [len(group) for group in graph.groups]
    kept = Choice(graph, graph.groups, full, magnitude(model, graph), multiple, 1).by_share(0.6)
    assert kept[graph.layers["0"].outputs].sum() == left


def _apply(model: nn.Module, target: str = "cortex-a75", **options: object) -> None:
    method = PruneChannels(**options)  # type: ignore[arg-type]
    context = Context(images(), Recipe(target=target))
    for done in range(method.rounds):
        method.apply(model, Context(context.data, context.recipe, round=done, memory=context.memory))


def _resnet() -> nn.Module:
    return create_model("resnet20", num_classes=3, input_shape=(3, 8, 8), seed=0).eval()


def test_a_budget_of_multiply_adds_is_kept() -> None:
    model = _resnet()
    before = count_model(model, (3, 8, 8))["macs"]
    _apply(model, macs=0.4, multiple=1, steps=2)
    assert 0.36 < count_model(model, (3, 8, 8))["macs"] / before <= 0.4
    with pytest.raises(ModelError, match="cannot fall so far"):
        _apply(_resnet(), macs=0.1, multiple=16)


@pytest.mark.parametrize(("target", "multiple"), [("cortex-a75", 16), ("cortex-a7", 8)])
def test_kept_channels_are_multiples_of_what_a_target_computes_at_a_time(target: str, multiple: int) -> None:
    model = _resnet()
    _apply(model, target, share=0.6)
    kept = [model.get_submodule(path).out_channels for path in ("conv1", "layer2.0.conv1", "layer3.0.conv1")]
    assert kept == [max(multiple, 8), 16, 32]


def test_the_multiple_is_halved_until_the_budget_can_be_met() -> None:
    model = _resnet()
    before = count_model(model, (3, 8, 8))["macs"]
    _apply(model, macs=0.1)
    assert count_model(model, (3, 8, 8))["macs"] / before <= 0.1
    assert [model.get_submodule(path).out_channels for path in ("conv1", "layer2.0.conv1")] == [4, 8]


def test_rounds_end_where_one_round_does() -> None:
    """Rounding up in each round does not stop the fall: 16 channels are halved over 12."""
    model = _resnet()
    _apply(model, share=0.5, multiple=8, steps=2)
    assert [model.get_submodule(path).out_channels for path in ("conv1", "layer2.0.conv1")] == [8, 16]


def test_skipped_layers_keep_their_channels_and_those_coupled_to_them() -> None:
    model = _resnet()
    _apply(model, share=0.5, multiple=1, criterion="fisher", skip=("layer1.1.conv2",))
    assert [model.get_submodule(path).out_channels for path in ("conv1", "layer1.0.conv1")] == [16, 8]


def test_outliers_are_far_below_the_mean_activity() -> None:
    model = _resnet()
    bias = model.get_parameter("layer1.0.bn1.bias")
    bias.data = torch.full_like(bias, 2.0)
    bias.data[3] = -100.0
    _apply(model, criterion="activation", outliers=2.0, multiple=1)
    assert model.get_submodule("layer1.0.conv1").out_channels == 15


def test_the_sum_network_shrinks_to_few_units_when_distorted() -> None:
    """The thesis: what is never active goes once and no more; noise and L1 let it go on, at no loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 1))
    nn.init.zeros_(model.get_parameter("0.bias"))
    inputs = torch.rand(1000, 2)

    def prune(strength: float = 0.0, seed: int = 0) -> int:
        graph = find_channels(model, (2,), 1000)
        distort(model, graph, graph.groups, strength, seed)
        scores = activity(graph, inputs)
        choice = Choice(graph, graph.groups, [len(group) for group in graph.groups], scores, 1, 1)
        take_out(model, graph, choice.without(scores <= 0), inputs)
        return len(model.get_parameter("0.weight"))

    def train(optimizer: torch.optim.Optimizer, l1: float = 0.0) -> float:
        for _ in range(100):
            loss = nn.functional.mse_loss(model(inputs), inputs.sum(1, keepdim=True))
            optimizer.zero_grad()
            (loss + l1 * sum(value.abs().sum() for value in model.parameters())).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return loss.item()

    sizes = []
    for _ in range(3):  # the thesis' momentum
        first = train(torch.optim.SGD(model.parameters(), 0.01, momentum=0.3))
        sizes.append(prune())
    assert 50 < sizes[0] == sizes[-1] < 100
    for number in range(18):
        left = prune(1.0, number)
        last = train(torch.optim.Adam(model.parameters(), 0.01), 0.001)
    assert left <= 10
    assert last <= first


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "one of share"),
        ({"share": 0.5, "macs": 0.5}, "one of share"),
        ({"active": 0.0}, "criterion = activation"),
        ({"share": 1.0}, "below 1"),
        ({"share": 0.5, "multiple": -1}, "multiple"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, float], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        PruneChannels(**options)  # type: ignore[arg-type]


def test_channels_cannot_go_after_a_mask() -> None:
    masked = {"method": "prune-magnitude", "sparsity": 0.5}
    with pytest.raises(RecipeError, match="put prune-channels before prune-magnitude"):
        recipe_from_dict({"compress": [masked, {"method": "prune-channels", "share": 0.5}]})


def test_activations_that_are_never_zero_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 3)).eval()
    with pytest.raises(ModelError, match="no activation of the network is ever zero"):
        _apply(model, share=0.5, criterion="activation")
