"""Progressive resizing: small images first, whole ones in the last epochs and in every test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import images
from torch import nn

from edgeq.data.pixels import scaled
from edgeq.errors import RecipeError
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train import train
from edgeq.train.resizing import size_in_epoch


def pooled() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def recipe(size: int, epochs: int = 5) -> Recipe:
    options = TrainRecipe(epochs=epochs, batch_size=16, crop_padding=1, device="cpu", initial_image_size=size)
    return Recipe(method="post-training", train=options)


@pytest.mark.parametrize(
    ("size", "epochs", "whole", "wanted"),
    [
        (16, 10, (32, 32), [16, 16, 16, 16, 16, 16, 20, 24, 32, 32]),
        (24, 10, (32, 32), [24, 24, 24, 24, 24, 24, 24, 28, 32, 32]),
        (0, 3, (32, 32), [32, 32, 32]),
        (32, 3, (32, 32), [32, 32, 32]),
        (16, 1, (32, 32), [32]),
        (16, 2, (32, 32), [16, 32]),
    ],
)
def test_images_grow_to_the_whole_ones(size: int, epochs: int, whole: tuple[int, int], wanted: list[int]) -> None:
    options = TrainRecipe(epochs=epochs, initial_image_size=size)
    assert [size_in_epoch(options, epoch, whole) for epoch in range(epochs)] == [(side, side) for side in wanted]


def test_the_ratio_of_the_sides_stays() -> None:
    options = TrainRecipe(epochs=10, initial_image_size=24)
    sizes = [size_in_epoch(options, epoch, (64, 48)) for epoch in range(10)]
    assert sizes[0] == (32, 24)
    assert sizes[-1] == (64, 48)
    assert sizes[-3] == (round(64 * 40 / 48), 40)


def test_the_network_sees_small_images_in_training_and_whole_ones_in_tests(tmp_path: Path) -> None:
    model, seen = pooled(), list[tuple[bool, int]]()

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append((module.training, given[0].shape[-1]))

    model.register_forward_pre_hook(note)
    train(model, images(), recipe(4), tmp_path)
    checked, *rest = seen
    assert checked == (False, 4)
    assert [size for training, size in rest if training] == [4] * 9 + [4] * 3 + [8] * 3
    assert {size for training, size in rest if not training} == {8}


def test_scaling_keeps_colours_and_rounds_to_pixels() -> None:
    plain = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(scaled(plain, (6, 6)), plain[:, :, :6, :6])
    halves = torch.zeros((1, 1, 8, 8), dtype=torch.uint8)
    halves[..., 4:] = 255
    small = scaled(halves, (4, 4))
    assert small.dtype == torch.uint8
    assert small[0, 0, 0, 0] < 16
    assert small[0, 0, 0, -1] > 239
    assert abs(float(small.float().mean()) - 127.5) < 1


def test_a_network_of_one_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    flat = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).train()
    flat[1].eval()
    with pytest.raises(RecipeError, match=r"train\.initial_image_size: .*one size only \(got 4 x 4, wanted 8 x 8\)"):
        train(flat, images(), recipe(4), tmp_path)
    assert [module.training for module in flat] == [True, False, True, True]


def test_more_than_the_images_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"larger than the images \(got 12, wanted up to 8\)"):
        train(pooled(), images(), recipe(12), tmp_path)


@pytest.mark.parametrize("size", [-1, 3, 5000])
def test_sizes_out_of_range_are_refused(size: int) -> None:
    with pytest.raises(RecipeError, match=r"train\.initial_image_size"):
        TrainRecipe(initial_image_size=size)
