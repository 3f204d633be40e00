from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.data import ImageData, augment
from edgeq.data.colors import ColorChange, change_colors, color_axes
from edgeq.data.crops import center_crop, random_resized_crop
from edgeq.data.load import load_data
from edgeq.errors import DataError


def images(count: int = 60, side: int = 12) -> torch.Tensor:
    """Smooth and well inside the range, so that nothing is clipped."""
    generator = torch.Generator().manual_seed(3)
    shade = torch.randint(100, 156, (count, 3, 1, 1), generator=generator)
    return (shade + torch.arange(side) - side // 2).expand(count, 3, side, side).to(torch.uint8)


def changed(change: ColorChange) -> torch.Tensor:
    return change_colors(images(), change, torch.Generator().manual_seed(0)).float()


def test_brightness_adds_one_number_to_an_image() -> None:
    moved = changed(ColorChange(brightness=20.0)) - images().float()
    per_image = moved.flatten(1)
    assert torch.equal(per_image.amin(1), per_image.amax(1))
    assert -20 <= float(moved.min()) < -15
    assert 15 < float(moved.max()) <= 20


def test_contrast_scales_what_is_not_the_mean() -> None:
    after, before = changed(ColorChange(contrast=0.8)), images().float()
    assert torch.allclose(after.mean((2, 3)), before.mean((2, 3)), atol=0.51)
    factors = (after.std((2, 3)) / before.std((2, 3))).mean(1)
    assert 0.15 < float(factors.min()) < 0.4
    assert 1.6 < float(factors.max()) < 1.85


def test_the_axes_are_numpys_eigenvectors_times_variance() -> None:
    generator = torch.Generator().manual_seed(1)
    mix = torch.tensor([[1.0, 0.5, 0.2], [0.0, 0.6, 0.1], [0.0, 0.0, 0.3]])
    pixels = torch.randn((40, 3, 5, 5), generator=generator).transpose(1, 3) @ mix * 30 + 128
    data = pixels.transpose(1, 3).clamp(0, 255).to(torch.uint8).contiguous()
    covariance = np.cov(data.transpose(0, 1).reshape(3, -1).numpy() / 255, bias=True)
    axes = color_axes(data).double().numpy() / 255
    for column in axes.T:
        size = np.linalg.norm(column)
        assert covariance @ column == pytest.approx(size * column, abs=1e-8)
    assert np.linalg.norm(axes, axis=0).sum() == pytest.approx(np.trace(covariance), rel=1e-6)


def test_an_offset_moves_all_pixels_of_an_image_along_the_axes() -> None:
    axes = torch.tensor([[40.0, 0.0, 0.0], [40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    after = change_colors(images(400), ColorChange(offset=0.5, axes=axes), torch.Generator().manual_seed(0))
    moved = (after.float() - images(400).float())[:, :, 0, 0]
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert not moved[:, 2].any()
    assert float(moved[:, 0].std()) == pytest.approx(20, rel=0.15)


def test_a_crop_to_a_smaller_size_is_one_of_its_images_own() -> None:
    generator = torch.Generator().manual_seed(3)
    batch = torch.randint(0, 256, (40, 3, 7, 9), dtype=torch.uint8, generator=generator)
    result = augment(batch, crop_padding=0, flip=False, generator=generator, size=(5, 4))
    places = set()
    for before, after in zip(batch, result, strict=True):
        crops = before.unfold(1, 5, 1).unfold(2, 4, 1)
        found = [(row, column) for row in range(3) for column in range(6) if torch.equal(crops[:, row, column], after)]
        assert len(found) == 1
        places.update(found)
    assert {row for row, _ in places} == {0, 1, 2}
    assert {0, 5} <= {column for _, column in places}


def test_a_resized_crop_shows_between_the_least_share_and_all_of_a_ramp() -> None:
    """On a ramp of one grey value a column, the range of columns seen is the width of the part."""
    ramp = torch.arange(200, dtype=torch.uint8).expand(300, 1, 200, 200).contiguous()
    result = random_resized_crop(ramp, (32, 32), 0.25, torch.Generator().manual_seed(0))
    assert result.shape == (300, 1, 32, 32)
    width = (result.amax((1, 2, 3)).int() - result.amin((1, 2, 3)).int()) * 33 / 32 / 200
    assert 0.4 < float(width.min()) < 0.5  # sqrt(0.25 * 3 / 4) is 0.43
    assert float(width.max()) > 0.95
    whole = random_resized_crop(ramp, (200, 200), 1.0, torch.Generator().manual_seed(0))
    assert int((whole.int() - ramp.int()).abs().amax((1, 2, 3)).min()) <= 1  # some part is all of its image


def test_the_network_sees_the_centre_of_test_images() -> None:
    whole, data = load_data("digits"), load_data("digits", crop=24)
    assert data.input_shape == (3, 24, 24)
    assert data.train_images.shape[2:] == (32, 32)
    assert torch.equal(data.test_images, whole.test_images[:, :, 4:28, 4:28])
    assert torch.equal(data.as_seen(data.train_images[:5]), center_crop(whole.train_images[:5], (24, 24)))
    assert data.sha256 != whole.sha256
    with pytest.raises(DataError, match=r"the crop is larger than the images.*got 40.*wanted 32"):
        load_data("digits", crop=40)
    with pytest.raises(DataError, match="images on disk are not cropped"):
        load_data("somewhere", crop=8, cache="here")


def test_images_of_two_sizes_need_a_crop() -> None:
    large, small = torch.zeros(4, 1, 6, 6, dtype=torch.uint8), torch.zeros(4, 1, 5, 5, dtype=torch.uint8)
    labels = torch.arange(4)
    with pytest.raises(DataError, match="test images differ in shape"):
        ImageData("x", large, labels, small, labels, tuple("abcd"))
    assert ImageData("x", large, labels, small, labels, tuple("abcd"), crop=5).input_shape == (1, 5, 5)
