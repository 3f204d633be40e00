"""Images as a training saw them: for the statistics that batch norms are given after the snap."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_training import images

import edgeq
from edgeq.data import augment, normalize
from edgeq.recipe import Recipe, TrainRecipe
from edgeq.train.augmentation import augmented_samples
from edgeq.train.batches import epoch_generator

TRAIN = TrainRecipe(epochs=3, crop_padding=2, cutout=3)


def test_samples_are_training_images_of_one_more_epoch() -> None:
    data, recipe = images(), Recipe(seed=4, train=TRAIN)
    found = augmented_samples(data, recipe, 16)
    order = torch.randperm(41, generator=torch.Generator().manual_seed(4))[:16]
    wanted = augment(
        data.train_images[order], crop_padding=2, flip=True, cutout=3, generator=epoch_generator(4, 3, "augment")
    )
    np.testing.assert_array_equal(found, normalize(wanted).numpy())
    np.testing.assert_array_equal(found, augmented_samples(data, recipe, 16))
    assert not np.array_equal(found, augmented_samples(data, dataclasses.replace(recipe, seed=5), 16))


@pytest.mark.parametrize("method", ["periodic", "post-training"])
def test_batch_norms_are_given_the_statistics_of_augmented_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    """A square of 32 x 32 about a place in each image is blank: zero, as few pixels of the plain digits are."""
    seen: list[NDArray[np.float32]] = []
    module = importlib.import_module("edgeq.train.batch_norm")
    monkeypatch.setattr(module, "reestimate_batch_norm", lambda model, samples, **rest: seen.append(samples))
    train = TrainRecipe(epochs=1, cutout=32, crop_padding=0, device="cpu")
    edgeq.train(Recipe(model="lenet5", bits=4, method=method, train=train), tmp_path / "out")
    assert len(seen) == (2 if method == "periodic" else 1)
    for samples in seen:
        assert samples.shape[0] == 1024
        assert (samples == 0).mean() > 0.3
