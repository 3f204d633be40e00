from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from edgeq.data import PIXEL_SCALE, PIXEL_ZERO, augment, normalize
from edgeq.errors import DataError

ALL_PIXELS = torch.arange(256, dtype=torch.uint8).reshape(2, 2, 8, 8)


def images(count: int = 5, height: int = 6, width: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalized_pixels_are_exact_in_every_type(dtype: torch.dtype) -> None:
    values = normalize(ALL_PIXELS, dtype)
    assert values.dtype == dtype
    assert torch.equal(values.double(), (ALL_PIXELS.double() - 128) / 128)
    assert torch.equal((values.float() / PIXEL_SCALE + PIXEL_ZERO).to(torch.uint8), ALL_PIXELS)


def test_normalize_keeps_the_memory_format_and_the_images() -> None:
    before = images()
    values = normalize(before.contiguous(memory_format=torch.channels_last))
    assert values.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(values, normalize(before))
    assert torch.equal(before, images())


@pytest.mark.parametrize("crop_padding", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_each_augmented_image_is_one_of_the_crops_of_its_own(crop_padding: int, flip: bool) -> None:
    batch = images(40)
    result = augment(batch, crop_padding=crop_padding, flip=flip, generator=seeded())
    assert (result.dtype, result.shape) == (torch.uint8, batch.shape)
    seen = set()
    for before, after in zip(batch, result, strict=True):
        padded = pad(before, [crop_padding] * 4, value=PIXEL_ZERO)
        crops = padded.unfold(1, 6, 1).unfold(2, 9, 1)
        places = [
            (top, left, mirrored)
            for top in range(2 * crop_padding + 1)
            for left in range(2 * crop_padding + 1)
            for mirrored in {False, flip}
            if torch.equal(crops[:, top, left].flip(2) if mirrored else crops[:, top, left], after)
        ]
        assert len(places) == 1
        seen.update(places)
    if crop_padding:
        assert {top for top, _, _ in seen} >= {0, 2 * crop_padding}  # both ends of the range are drawn
        assert {left for _, left, _ in seen} >= {0, 2 * crop_padding}
    assert {mirrored for _, _, mirrored in seen} == {False, flip}


def test_what_comes_in_at_the_border_is_the_zero_of_the_network() -> None:
    ones = torch.full((64, 1, 4, 4), 255, dtype=torch.uint8)
    values = normalize(augment(ones, crop_padding=3, flip=False, generator=seeded()))
    assert sorted(set(values.flatten().tolist())) == [0, 127 / 128]


@pytest.mark.parametrize("side", [1, 3, 4, 30])
def test_a_square_around_a_pixel_of_each_image_is_blanked(side: int) -> None:
    ones = torch.full((200, 2, 6, 9), 255, dtype=torch.uint8)
    result = augment(ones, crop_padding=0, flip=False, generator=seeded(), cutout=side)
    assert (ones == 255).all()
    sizes = set()
    for image in result:
        assert torch.equal(image[0], image[1])
        rows, columns = torch.nonzero(image[0] == PIXEL_ZERO).T
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert len(rows) == height * width  # one rectangle: a square, cut off at the border
        assert side >= height >= min(6, side - side // 2)
        assert side >= width >= min(9, side - side // 2)
        sizes.add((height, width))
    assert (min(side, 6), min(side, 9)) in sizes


def test_a_square_changes_nothing_else_of_the_batch() -> None:
    plain = augment(images(), crop_padding=2, flip=True, generator=seeded())
    blanked = augment(images(), crop_padding=2, flip=True, generator=seeded(), cutout=3)
    assert ((blanked == plain) | (blanked == PIXEL_ZERO)).all()
    assert not torch.equal(blanked, plain)


def test_the_generator_alone_decides() -> None:
    first, second, third = (augment(images(), crop_padding=4, flip=True, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_memory_format_does_not_matter() -> None:
    batch = images()
    strided = batch.contiguous(memory_format=torch.channels_last)
    wanted = augment(batch, crop_padding=2, flip=True, generator=seeded())
    assert torch.equal(augment(strided, crop_padding=2, flip=True, generator=seeded()), wanted)


def test_an_empty_batch_stays_empty() -> None:
    assert augment(images(0), crop_padding=2, flip=True, generator=seeded()).shape == (0, 3, 6, 9)


@pytest.mark.parametrize(
    ("batch", "crop_padding", "cutout"),
    [(images().float(), 1, 0), (images()[0], 1, 0), (images(), -1, 0), (images(), 1, -1)],
)
def test_what_cannot_be_augmented_is_refused(batch: torch.Tensor, crop_padding: int, cutout: int) -> None:
    with pytest.raises(DataError, match="got"):
        augment(batch, crop_padding=crop_padding, flip=True, generator=seeded(), cutout=cutout)
