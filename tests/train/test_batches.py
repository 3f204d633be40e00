from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import DataError
from edgeq.train.batches import EpochBatches, epoch_generator, epoch_order, epoch_seed, epochs_between_tests


@given(st.integers(2, 300), st.integers(1, 64))
def test_batches_cover_the_images_once_but_for_a_last_single_one(images: int, batch_size: int) -> None:
    batches = EpochBatches(images, batch_size)
    bounds = list(batches)
    seen = [index for start, stop in bounds for index in range(start, stop)]
    assert seen == list(range(batches.images))
    assert images - batches.images <= 1
    assert min(stop - start for start, stop in bounds) >= 2
    assert len(batches) == len(bounds)


def test_one_image_is_too_few() -> None:
    with pytest.raises(DataError, match="too few training images"):
        EpochBatches(1, 8)


def test_the_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    order = epoch_order(100, 7, 3)
    torch.manual_seed(1)
    assert torch.equal(order, epoch_order(100, 7, 3))
    assert torch.equal(order.sort().values, torch.arange(100))
    assert not torch.equal(order, epoch_order(100, 7, 4))
    assert not torch.equal(order, epoch_order(100, 8, 3))


def test_the_streams_of_an_epoch_differ() -> None:
    seeds = {epoch_seed(s, e, stream) for s in range(3) for e in range(3) for stream in ("order", "augment", "network")}
    assert len(seeds) == 27
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert epoch_generator(2**63 - 1, 0, "augment").initial_seed() == epoch_seed(2**63 - 1, 0, "augment")


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_testing_stays_within_its_budget(train_images: int, test_images: int) -> None:
    every = epochs_between_tests(train_images, test_images)
    forward = test_images / 3  # in units of training images: a step is three forward passes
    assert forward <= 0.05 * train_images * every * (1 + 1e-9)
    assert every == 1 or forward > 0.05 * train_images * (every - 1)
