"""Pairs of numbers as images of two channels and one pixel: what a network that adds is trained on."""

from __future__ import annotations

import torch

from edgeq.data.image_data import ImageData

__all__ = ["load_sums"]

_TEST = 13_107  # a fifth


def load_sums() -> ImageData:
    """All 65,536 pairs of bytes, in a fixed order drawn once; a fifth is for test.

    A byte p stands for (p - 128) / 128, as pixels do, so the numbers are from -1 to 127/128 and every one of them is
    exact in the file. The classes tell the sign of the sum.

    Source: Calli 2017, "Optimizing Neural Networks for Mobile Devices", section 2.7.1, which draws 1,000,000 pairs.
    """
    order = torch.randperm(1 << 16, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([order // 256, order % 256], dim=1)
    images = pairs.to(torch.uint8)[:, :, None, None].contiguous()
    labels = (pairs.sum(1) >= 256).long()
    return ImageData(
        name="sums",
        train_images=images[_TEST:].contiguous(),
        train_labels=labels[_TEST:],
        test_images=images[:_TEST].contiguous(),
        test_labels=labels[:_TEST],
        classes=("negative", "not negative"),
        mirrors=False,
    )
