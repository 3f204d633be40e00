"""The embedded default data set: scikit-learn's 1,797 handwritten digits, enlarged. No network, no file of our own."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch.nn.functional import interpolate

from edgeq.data.image_data import ImageData

__all__ = ["load_digits"]

_SIDE = 32
_TEST_SHARE = 0.2


def load_digits() -> ImageData:
    """The UCI handwritten digits as images 3 x 32 x 32 with a fixed split, stratified, 20 percent for test.

    The 8 x 8 images with values 0 to 16 are scaled to 0 to 255 and enlarged bilinearly. Every value on the way is a
    multiple of 1/1024 below 256, exact in float32, so the pixels are the same on every machine.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits as load_sklearn_digits

    bunch = load_sklearn_digits()
    small = torch.from_numpy(bunch.images.astype(np.float32)).unsqueeze(1) * (255 / 16)
    large = interpolate(small, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).repeat(1, 3, 1, 1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    test = _test_rows(labels)
    return ImageData(
        name="digits",
        train_images=images[~test].contiguous(),
        train_labels=labels[~test],
        test_images=images[test].contiguous(),
        test_labels=labels[test],
        classes=tuple("0123456789"),
        mirrors=False,
    )


def _test_rows(labels: torch.Tensor) -> torch.Tensor:
    """Which rows are for test, bool [N]: in each class those whose index hashes lowest, free of any generator."""
    test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        rows = (labels == label).nonzero().flatten().tolist()
        rows.sort(key=lambda row: hashlib.sha256(f"edgeq digits {row}".encode()).digest())
        test[rows[: round(_TEST_SHARE * len(rows))]] = True
    return test
