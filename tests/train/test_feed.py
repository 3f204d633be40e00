from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from small_training import assert_equal_states, images, network, state

from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train import train
from edgeq.train.feed import Feed

RECIPE = Recipe(model="tiny", train=TrainRecipe(epochs=2, batch_size=16, crop_padding=1, flip=True, device="cpu"))


def test_batches_come_in_order_with_their_rows() -> None:
    pixels = torch.arange(40, dtype=torch.uint8).reshape(10, 1, 2, 2)
    rows = [torch.tensor([7, 1, 3]), torch.tensor([0]), torch.tensor([9, 8, 2, 5])]
    found = list(Feed(pixels, rows))
    assert len(found) == 3
    assert all(torch.equal(got, pixels[wanted]) for got, wanted in zip(found, rows, strict=True))


def test_training_from_disk_gives_the_same_weights(tmp_path: Path) -> None:
    memory, disk = network(), network()
    train(memory, images(), RECIPE, tmp_path / "memory")
    train(disk, dataclasses.replace(images(), on_disk=True), RECIPE, tmp_path / "disk")
    assert_equal_states(state(disk), state(memory))
