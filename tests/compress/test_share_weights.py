from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import images, network
from torch import nn

from edgeq.compress.codebook import codebook, starting_values
from edgeq.compress.method import Context
from edgeq.compress.share_weights import ShareWeights
from edgeq.errors import RecipeError
from edgeq.recipe import Recipe, recipe_from_dict
from edgeq.train import train


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_kmeans_ends_where_scikit_learns_does(start: Any) -> None:
    from sklearn.cluster import KMeans

    weights = np.random.default_rng(0).laplace(0, 0.1, 3000).astype(np.float32)
    values = np.sort(weights.astype(np.float64))
    begin = starting_values(values, 16, start, 3)
    assert len(begin) == 16
    assert (np.diff(begin) > 0).all()
    other = KMeans(16, init=begin[:, None], n_init=1, max_iter=1000, tol=0).fit(values[:, None])
    mine = codebook(weights, 16, start, 3)
    error = np.square(values[:, None] - mine).min(axis=1).sum()
    assert error == pytest.approx(other.inertia_, rel=1e-3)


def test_a_linear_start_keeps_the_large_weights_a_density_start_the_frequent_ones() -> None:
    """The paper's figure 6: linear spreads over the range, density over the mass."""
    values = np.sort(np.random.default_rng(0).normal(0, 1, 10_000))
    linear, density = (starting_values(values, 16, start, 0) for start in ("linear", "density"))
    assert (linear[0], linear[-1]) == (values[0], values[-1])
    assert np.abs(density).max() < 2
    assert np.histogram(values, density)[0].std() < 0.01 * len(values)


def test_no_more_values_than_there_are() -> None:
    np.testing.assert_array_equal(codebook(np.array([3, 1, 3, 2], np.float32), 8, "linear", 0), [1, 2, 3])


def shared(model: nn.Module, **options: Any) -> Any:
    context = Context(images(), Recipe())
    return ShareWeights(**options).apply(model.eval(), context)


def values_of(weight: torch.Tensor) -> int:
    return len(np.unique(weight[weight != 0].numpy()))


def test_weights_take_so_many_values_and_zeros_stay() -> None:
    model = network()
    weight = model.state_dict()["3.weight"]
    weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5] = 0
    zeros = weight == 0
    before = weight.clone()
    shared(model, bits=3)
    assert torch.equal(weight == 0, zeros)
    assert values_of(weight) == 8
    assert (weight - before).square().mean() < 0.05 * before.square().mean()


def test_a_step_is_that_of_a_codebook_of_parameters() -> None:
    """Autograd of weight = values[index] gives each value's gradient; its step is that by the number of its weights."""
    torch.manual_seed(0)
    layer = nn.Linear(40, 30, bias=False)
    constraint = shared(nn.Sequential(layer), bits=2)
    found = np.unique(layer.weight.detach().numpy(), return_inverse=True, return_counts=True)
    values, index, sizes = map(torch.from_numpy, found)
    values.requires_grad_()
    inputs, wanted = torch.randn(8, 40), torch.randn(8, 30)
    nn.functional.mse_loss(inputs @ values[index].view(30, 40).T, wanted).backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    expected = values.detach() - 0.1 * values.grad / sizes
    nn.functional.mse_loss(layer(inputs), wanted).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(layer.parameters(), 0.1).step()
    constraint.project()
    torch.testing.assert_close(layer.weight.detach(), expected[index].view(30, 40))


@pytest.mark.parametrize(
    "extra",
    [
        {"bits": 8},
        {"bits": 4},
        {"bits": 4, "regularizer": {"form": "decoupled"}},
        {"bits": 4, "method": "straight-through"},
        {"bits": 8, "train": {"optimizer": "adamw", "learning_rate": 0.01}},
    ],
    ids=str,
)
def test_shared_values_survive_each_form_of_training(extra: dict[str, Any], tmp_path: Path) -> None:
    model = network()
    constraint = shared(model, bits=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = {"epochs": 2, "batch_size": 16, "precision": "fp32", **extra.get("train", {})}
    train(model, images(), recipe_from_dict({**extra, "train": settings}), tmp_path, constraints=[constraint])
    for name in ("3.weight",):
        weight = model.state_dict()[name]
        assert values_of(weight) <= 4
        assert not torch.equal(weight, before[name]), "trained on"


def test_combinations_that_make_no_sense_are_refused() -> None:
    share = {"method": "share-weights", "bits": 4}
    prune = {"method": "prune-magnitude", "sparsity": 0.5}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"compress": [share, prune]}, "a method after it .*put it last"),
        ({"compress": [share], "bits": 4}, "a grid of 4 bits has fewer points"),
        ({"compress": [share], "regularizer": {"scale": "channel"}}, "a scale a channel"),
        ({"compress": [{**share, "bits": 9}]}, "bits: out of range .*1 to 8"),
        ({"compress": [{**share, "layer_bits": ["conv"]}]}, "layer_bits: out of range .*PATTERN=BITS"),
    ]
    for table, message in cases:
        with pytest.raises(RecipeError, match=message):
            recipe_from_dict(table)
    with pytest.raises(RecipeError, match=r"no layer is named as in layer_bits nix=3; layers are 0, 3"):
        shared(network(), layer_bits=("nix=3",))
