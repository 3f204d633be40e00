"""The augmentation of a recipe, and images as a training's last epoch saw them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeq.data import ImageData, augment, normalize
from edgeq.data.colors import ColorChange, color_axes
from edgeq.data.pixels import scaled
from edgeq.recipe import Recipe
from edgeq.train.batches import epoch_generator
from edgeq.train.resizing import size_in_epoch
from edgeq.train_recipe import TrainRecipe

__all__ = ["Augmentation", "augmented_samples"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What a recipe does to a batch of training images.

    Attributes:
        train: the recipe's part that says it.
        flip: whether images are mirrored: what the recipe says, or else the data set.
        colors: how far colours move.
        size: (height, width) that the network sees.
    """

    train: TrainRecipe
    flip: bool
    colors: ColorChange
    size: tuple[int, int]

    @classmethod
    def of(cls, train: TrainRecipe, data: ImageData) -> Augmentation:
        """That of a recipe over a data set."""
        axes = color_axes(data.train_images) if train.color_offset else None
        colors = ColorChange(train.brightness, train.contrast, train.color_offset, axes)
        _, height, width = data.input_shape
        return cls(train, data.mirrors if train.flip is None else train.flip, colors, (height, width))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [N, C, H, W] to uint8 [N, C, height, width], on the same device."""
        return augment(
            images,
            crop_padding=self.train.crop_padding,
            flip=self.flip,
            generator=generator,
            cutout=self.train.cutout,
            size=self.size,
            crop_scale=self.train.crop_scale,
            colors=self.colors,
        )

    def resized(self, images: Tensor, epoch: int) -> Tensor:
        """Whole images uint8 [N, C, height, width] as the network has them in an epoch: smaller in an early one."""
        return scaled(images, size_in_epoch(self.train, epoch, self.size))


def augmented_samples(data: ImageData, recipe: Recipe, count: int) -> NDArray[np.float32]:
    """Training images drawn by the seed, without repetition, augmented as in one more epoch: float32 [S, C, H, W].

    The means and variances that a network was trained with are those of augmented images. On a ResNet-20 of 4 bits,
    trained with a blank square in each, statistics over plain images took the accuracy from 89.0 to 86.6 %.
    """
    generator = epoch_generator(recipe.seed, recipe.train.epochs, "augment")
    images = data.train_images[data.drawn(count, recipe.seed)]
    samples: NDArray[np.float32] = normalize(Augmentation.of(recipe.train, data)(images, generator)).numpy()
    return samples
