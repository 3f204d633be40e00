"""Progressive resizing: the first epochs see smaller images, which cost less, the last ones whole images."""

from __future__ import annotations

import torch
from torch import nn

from edgeq.errors import RecipeError
from edgeq.models.create import unchanged
from edgeq.train_recipe import TrainRecipe

__all__ = ["require_smaller_images", "size_in_epoch"]

GROWS_FROM, WHOLE_FROM = 5, 8  # tenths of the epochs
PIXELS_A_STEP = 4


def size_in_epoch(train: TrainRecipe, epoch: int, whole: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the images of an epoch.

    The shorter side is ``initial_image_size`` in the first half of the epochs and then grows evenly, in steps of 4
    pixels, to the whole image, which it is from four fifths on and in the last epoch; the ratio of the sides stays.

    Args:
        train: with the first size and the number of epochs.
        epoch: from 0.
        whole: (height, width) that the network is made for.

    Source: Howard 2018, "Training Imagenet in 3 hours for USD 25"; the shares are those of MosaicML's Composer.
    """
    side, first = min(whole), train.initial_image_size
    done, steps = 10 * epoch - GROWS_FROM * train.epochs, (WHOLE_FROM - GROWS_FROM) * train.epochs
    if not first or first >= side or done >= steps or epoch == train.epochs - 1:
        return whole
    grown = max(done, 0) * (side - first) // steps // PIXELS_A_STEP * PIXELS_A_STEP
    height, width = (round(length * (first + grown) / side) for length in whole)
    return height, width


def require_smaller_images(model: nn.Module, train: TrainRecipe, input_shape: tuple[int, int, int]) -> None:
    """See that a network takes what the first epoch would give it.

    Args:
        model: any mode and device; unchanged.
        train: with the first size, 0 for none.
        input_shape: (C, H, W) that it is made for.

    Raises:
        RecipeError: the images are no larger than that, or the network takes those of one size only.
    """
    channels, *whole = input_shape
    first = train.initial_image_size
    where = "train.initial_image_size"
    if first > min(whole):
        raise RecipeError("larger than the images", where=where, got=first, wanted=f"up to {min(whole)}")
    if not first:
        return
    height, width = size_in_epoch(train, 0, (whole[0], whole[1]))
    parameter = next(model.parameters())
    zeros = torch.zeros((1, channels, height, width), device=parameter.device, dtype=parameter.dtype)
    with unchanged(model), torch.no_grad():
        try:
            model.eval()(zeros)
        except Exception as error:  # a foreign forward can raise anything
            raise RecipeError(
                "this network takes images of one size only", where=where, got=f"{width} x {height}",
                wanted=f"{whole[1]} x {whole[0]}", remedy="leave the key out",
            ) from error  # fmt: skip
