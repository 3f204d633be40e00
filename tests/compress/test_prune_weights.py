"""Masks over weights: shares of a layer, of the network, of groups and processing elements; rounds that add up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import images, network
from torch import nn

from edgeq.compress.masks import share_of_zeros
from edgeq.compress.method import Context, Method
from edgeq.compress.prune_balanced import PruneBalanced
from edgeq.compress.prune_magnitude import PruneMagnitude
from edgeq.compress.run import train_and_compress
from edgeq.errors import ModelError, RecipeError
from edgeq.progress import Silent
from edgeq.recipe import Recipe, TrainRecipe, recipe_from_dict


def _pruned(method: Method, *layers: nn.Module) -> nn.Sequential:
    model = nn.Sequential(*layers)
    memory: dict[str, object] = {}
    for done in range(method.rounds):
        method.apply(model, Context(images(), Recipe(), round=done, memory=memory))
    return model


def test_the_threshold_is_a_multiple_of_the_dense_deviation_in_every_round() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(100, 100)
    nn.init.normal_(layer.weight, std=0.3)
    dense = layer.weight.detach().clone()
    _pruned(PruneMagnitude(deviations=1.0, steps=3), layer)
    assert torch.equal(layer.weight != 0, dense.abs() > dense.std())


def test_a_method_named_twice_keeps_what_it_did_before(tmp_path: Path) -> None:
    model = network()
    first, second = model[0], model[3]
    train = TrainRecipe(epochs=1, batch_size=16, precision="fp32")
    methods = (
        PruneMagnitude(sparsity=0.5, skip=("3", "6"), epochs=1),
        PruneMagnitude(sparsity=0.75, skip=("0", "6"), epochs=1, steps=2),
    )
    recipe = Recipe(train=train, compress=methods)
    train_and_compress(model, images(), recipe, tmp_path, resume=False, progress=Silent())
    assert [share_of_zeros(layer) for layer in (first, second)] == [0.5, pytest.approx(0.75, abs=0.002)]


def test_across_the_network_layers_with_small_weights_lose_more_but_never_all() -> None:
    torch.manual_seed(0)
    small, large = nn.Linear(50, 50), nn.Linear(50, 50)
    small.weight.data *= 1e-6
    _pruned(PruneMagnitude(sparsity=0.6, across="network"), small, large)
    assert (small.weight != 0).sum() == 1
    assert (large.weight != 0).sum() == 2000


@pytest.mark.parametrize("shape", [(6, 8), (5, 12, 3, 3)])
def test_of_each_four_neighbours_the_two_largest_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 6) if len(shape) == 2 else nn.Conv2d(12, 5, 3)
    dense = layer.weight.detach().clone()
    _pruned(PruneBalanced(keep=2, of=4), layer)
    groups, were = (item.movedim(1, -1).reshape(-1, 4) for item in (layer.weight.detach(), dense))
    for group, was in zip(groups, were, strict=True):
        assert set(group.nonzero().flatten().tolist()) == set(was.abs().argsort()[-2:].tolist())


@pytest.mark.parametrize(("rows", "elements"), [(8, 4), (10, 4), (3, 8), (6, 0)])
def test_processing_elements_keep_equally_many(rows: int, elements: int) -> None:
    layer = nn.Linear(16, rows)
    _pruned(PruneBalanced(sparsity=0.5, elements=elements), layer)
    many = min(elements or rows, rows)
    counts = {int((layer.weight[element::many] != 0).sum()) for element in range(many)}
    assert len(counts) == 1
    assert counts == {round(0.5 * -(-rows // many) * 16)}


def test_layers_that_no_group_fits_are_left_alone() -> None:
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)
    _pruned(PruneBalanced(keep=1, of=4), first, second)
    assert (first.weight != 0).all()
    assert (second.weight == 0).float().mean() == 0.75
    with pytest.raises(ModelError, match="no layer's inputs are a multiple"):
        _pruned(PruneBalanced(keep=1, of=4), nn.Conv2d(3, 8, 3))


@pytest.mark.parametrize(
    "options", [{}, {"keep": 4, "of": 4}, {"keep": 2, "of": 4, "sparsity": 0.5}, {"keep": 2, "of": 4, "elements": 2}]
)
def test_groups_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="compress prune-balanced"):
        PruneBalanced(**options)  # type: ignore[arg-type]


def test_a_grid_without_zero_is_refused() -> None:
    recipe = {"regularizer": {"function": "cosine"}, "bits": 4}
    with pytest.raises(RecipeError, match="zero"):
        recipe_from_dict(recipe | {"compress": [{"method": "prune-balanced", "keep": 2, "of": 4}]})
