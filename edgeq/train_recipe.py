"""The part ``[train]`` of a recipe: every choice of a training in one frozen dataclass. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgeq.strict_toml import require

__all__ = ["TrainRecipe"]


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """How the network is trained.

    Attributes:
        epochs: passes over the training images; 0 takes the weights of ``init`` as they are.
        batch_size: images a step.
        optimizer: ``sgd`` (Nesterov momentum) or ``adamw``.
        learning_rate: the peak rate.
        momentum: of SGD; AdamW's first beta.
        weight_decay: decoupled for AdamW, L2 for SGD; applied to weights of two or more dimensions only.
        rate_schedule: ``cosine`` (to zero) or ``onecycle`` (up over ``warmup`` of the steps, then cosine to zero).
        warmup: share of the steps that ``onecycle`` spends rising.
        precision: ``bf16`` (autocast), ``fp32``, or ``auto``: bf16 where the CPU or GPU computes in it.
        crop_padding: zero pixels put on each side before a random crop; 0 crops nothing.
        flip: random left-right mirror; left out, it follows the data set (digits are not mirrored).
        cutout: side in pixels of a square that is blanked at a random place of each image; 0 blanks nothing.
        label_smoothing: share of the target that is spread over all classes.
        init: a ``.safetensors`` file of this network's weights to start from, such as the ``checkpoint.safetensors`` of
            an earlier build; empty for new ones from the seed.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    epochs: int = 30
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    rate_schedule: Literal["cosine", "onecycle"] = "onecycle"
    warmup: float = 0.2
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    crop_padding: int = 4
    flip: bool | None = None
    cutout: int = 0
    label_smoothing: float = 0.0
    init: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "learning_rate"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"train.{name}", value, "a finite number above 0")
        least, wanted = (0, "0 or more") if self.init else (1, "1 or more, or 0 with train.init")
        require(least <= self.epochs < 2**31, "train.epochs", self.epochs, wanted)
        require(0 <= self.momentum < 1, "train.momentum", self.momentum, "0 or more, below 1")
        require(0 <= self.weight_decay < math.inf, "train.weight_decay", self.weight_decay, "0 or more, finite")
        require(0 < self.warmup < 1, "train.warmup", self.warmup, "between 0 and 1")
        require(0 <= self.crop_padding <= 64, "train.crop_padding", self.crop_padding, "0 to 64")
        require(0 <= self.cutout <= 4096, "train.cutout", self.cutout, "0 to 4096")
        require(0 <= self.label_smoothing < 1, "train.label_smoothing", self.label_smoothing, "0 or more, below 1")
