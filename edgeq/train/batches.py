"""Which images make up each batch: pure functions of seed and epoch, so that an epoch can be run again exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from edgeq.errors import DataError

__all__ = ["EpochBatches", "epoch_generator", "epoch_order", "epoch_seed", "epochs_between_tests", "split_rows"]

STREAMS: Final = ("order", "augment", "network", "split")
Stream = Literal["order", "augment", "network", "split"]
FORWARD_SHARE: Final = 1 / 3  # of a training step: one forward pass of three
TEST_BUDGET: Final = 0.05


class EpochBatches:
    """The bounds of one epoch's batches, (start, stop) into its order; the same for every epoch.

    The last batch may be smaller, but a last batch of one image is left out: batch norm has no variance for it.

    Raises:
        DataError: there are fewer than two images.
    """

    def __init__(self, images: int, batch_size: int) -> None:
        if images < 2:
            raise DataError("too few training images", where="data", got=images, wanted="2 or more")
        starts = range(0, images, max(batch_size, 2))
        bounds = [(start, min(start + max(batch_size, 2), images)) for start in starts]
        self._bounds = tuple((start, stop) for start, stop in bounds if stop - start > 1)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._bounds)

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def images(self) -> int:
        """Images an epoch."""
        return self._bounds[-1][1]


def epoch_seed(seed: int, epoch: int, stream: Stream) -> int:
    """A 63-bit seed for one use in one epoch; independent streams, equal on every machine."""
    state = np.random.SeedSequence((seed, epoch, STREAMS.index(stream))).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's images: a permutation, int64 [images], on the CPU."""
    return torch.randperm(images, generator=epoch_generator(seed, epoch, "order"))


def epoch_generator(seed: int, epoch: int, stream: Stream) -> torch.Generator:
    """A generator on the CPU for one use in one epoch; what it draws does not depend on the training device."""
    return torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))


def split_rows(images: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """The rows that are trained on and those left out, a share drawn by the seed; int64, each in rising order.

    Raises:
        DataError: there are too few images for two of each.
    """
    left_out = round(images * share)
    if share and not 2 <= left_out <= images - 2:
        raise DataError("too few images for train.validation", where="data", got=f"{left_out} of {images}",
                        wanted="2 or more of each")  # fmt: skip
    order = torch.randperm(images, generator=epoch_generator(seed, 0, "split"))
    return order[left_out:].sort().values, order[:left_out].sort().values


def epochs_between_tests(train_images: int, test_images: int) -> int:
    """Epochs between passes over the test set, so that they cost 5 % of the training at most."""
    return max(1, math.ceil(test_images * FORWARD_SHARE / (train_images * TEST_BUDGET)))
