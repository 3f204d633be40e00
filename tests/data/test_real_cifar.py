from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import torch

from edgeq.data import load_data

ARCHIVE = Path(__file__).parents[3] / "shared/data/cifar10-imagefolder.tar.xz"


@pytest.mark.slow
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"CIFAR-10 is not there: {ARCHIVE}")
def test_cifar10_loads_whole_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    whole = tarfile.TarFile.open

    def counted(*args: object, **kwargs: object) -> object:
        opened.append(args)
        return whole(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(tarfile.TarFile, "open", counted)
    data = load_data(str(ARCHIVE))
    assert len(opened) == 1
    assert data.classes == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert data.train_images.shape == (50_000, 3, 32, 32)
    assert data.test_images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(data.train_labels).tolist() == [5000] * 10
    assert torch.bincount(data.test_labels).tolist() == [1000] * 10
    # The published per-channel means of CIFAR-10's training images; JPEG and rounding move them by less than 0.5.
    means = data.train_images[:, :, ::4].double().mean((0, 2, 3))
    assert (means - torch.tensor([125.3, 123.0, 113.9])).abs().max() < 1.5
    assert data.skipped == 0
