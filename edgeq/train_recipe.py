"""The part ``[train]`` of a recipe: every choice of a training in one frozen dataclass. No torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgeq.errors import RecipeError
from edgeq.strict_toml import require

__all__ = ["Initialization", "TrainRecipe"]

Initialization = Literal[
    "model",
    "kaiming-normal",
    "kaiming-uniform",
    "xavier-normal",
    "xavier-uniform",
    "truncated-normal",
    "orthogonal",
]


LEARNING_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "adagrad": 0.01}
FINE_TUNING_SHARES = {8: 0.02, 4: 0.05, 2: 0.1}  # by bits; of other bits, that of the next fewer
WARMUP = {"onecycle": 0.2}
STEP_DECAY = 0.1
LAST_SHARE = 0.01  # of the peak rate, that exponential decay ends at


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """How the network is trained.

    Attributes:
        epochs: passes over the training images; 0 takes the weights of ``init`` as they are.
        batch_size: images a step.
        initialization: of convolution and fully-connected weights, by ``torch.nn.init``; biases become zero. ``model``
            keeps what the network's author chose.
        initial_std: of ``truncated-normal``, which is cut at two of them.
        optimizer: ``sgd``, ``adam``, ``adamw``, ``rmsprop`` or ``adagrad``, torch's own.
        learning_rate: the peak rate; left out, 0.1 with ``sgd``, 0.01 with ``adagrad`` and 0.001 with the others. From
            ``init``, without compression, it is 0.02 times that at 8 bits, 0.05 times at 4 and 0.1 times at 2: a higher
            one takes a trained network from where it was (:meth:`learning_rate_for`).
        momentum: of SGD and RMSProp; Adam's and AdamW's first beta.
        nesterov: whether SGD's momentum is Nesterov's.
        weight_decay: L2 (decoupled for AdamW), of weights of two or more dimensions only.
        l1: what the sum of the same weights' magnitudes is multiplied by and added to the loss.
        rate_schedule: ``cosine`` (to zero), ``onecycle`` (the same, with a warm-up), ``step`` (times ``rate_decay`` at
            each of ``milestones``), ``exponential`` (times ``rate_decay`` an epoch) or ``constant``.
        warmup: share of the steps that the rate rises in a line; left out, 0.2 with ``onecycle`` and 0 else.
        milestones: of ``step``: shares of the training, rising.
        rate_decay: left out, 0.1 with ``step``; with ``exponential`` what ends at 1 % of the peak.
        rates: factors of the rate for layers, by patterns over their names; of several that match, the last wins. 0
            freezes a layer, and the statistics of a batch norm with it.
        dropout: the share that every dropout layer of the network drops; left out, the network's own.
        ema: decay of a moving average of the weights, which takes their place in tests and at the end; 0.999 looks back
            some 1000 steps; 0 keeps none.
        validation: share of the training images that is left out of training to choose by, drawn by the seed.
        patience: epochs without a lower loss on these, after which the training stops with the weights it has; 0 never
            stops.
        precision: ``bf16`` (autocast), ``fp32``, or ``auto``: bf16 where the CPU or GPU computes in it.
        crop_padding: zero pixels put on each side before a random crop; 0 puts none.
        crop_scale: the smallest share of an image's area that is cut out at random and scaled to the network's input,
            in place of that crop; 0 for none.
        initial_image_size: the shorter side in pixels that training images are scaled to at first (progressive
            resizing): in the first half of the epochs; then it grows evenly in steps of 4 pixels, and from four fifths
            on the images are whole. 0 leaves them whole throughout. Networks that end in global pooling take any size.
        flip: random left-right mirror; left out, it follows the data set (digits are not mirrored).
        brightness: the largest offset that is added to an image, in pixel values.
        contrast: how far the factor of an image's contrast is from 1 at most.
        color_offset: standard deviation of random offsets along the principal axes of the data's colours, as AlexNet
            had them with 0.1.
        cutout: side in pixels of a square that is blanked at a random place of each image; 0 blanks nothing.
        label_smoothing: share of the target that is spread over all classes.
        distillation: share of the loss that is the distance (Kullback-Leibler divergence) from a teacher's answers to
            the same images: of those of ``teachers``, or else of the network as it was when the training began, with
            the weights of ``init``, or before the first compression method: Esser et al. 2020, arXiv:1902.08153,
            section 3.7, have 0.5 of it. 0 for none. Costs the teacher's inference: a quarter of the time if it is as
            large.
        distillation_temperature: what the logits of both are divided by; the distance is multiplied by its square, so
            that gradients stay as large. Hinton et al. 2015, arXiv:1503.02531, section 2; above 1 it tells more of the
            classes that the teacher finds unlikely.
        teachers: output folders of ``edgeq train`` or ``edgeq build``, of any networks for the same classes and image
            size, often larger ones; the answer is the mean of their logits. They are not trained.
        activations: ``float``, or ``fake-quantize``: from some step on the network computes with activations rounded to
            the grids that they will have in the artifact, straight-through. Their ranges follow what passes, are held
            in the last tenth of the steps, and are the artifact's.
        activations_from: of ``fake-quantize``: the share of the steps before that step; left out, 0.5, and 0 where
            ``init`` is given.
        init: a ``.safetensors`` file of this network's weights to start from, such as the ``checkpoint.safetensors`` of
            an earlier build; empty for new ones from the seed. A head for another number of classes stays new.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    epochs: int = 30
    batch_size: int = 128
    initialization: Initialization = "model"
    initial_std: float = 0.1
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"] = "sgd"
    learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    l1: float = 0.0
    rate_schedule: Literal["cosine", "onecycle", "step", "exponential", "constant"] = "onecycle"
    warmup: float | None = None
    milestones: tuple[float, ...] = (0.5, 0.75)
    rate_decay: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    dropout: float | None = None
    ema: float = 0.0
    validation: float = 0.0
    patience: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    crop_padding: int = 4
    crop_scale: float = 0.0
    initial_image_size: int = 0
    flip: bool | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    color_offset: float = 0.0
    cutout: int = 0
    label_smoothing: float = 0.0
    distillation: float = 0.0
    distillation_temperature: float = 1.0
    teachers: tuple[str, ...] = ()
    activations: Literal["float", "fake-quantize"] = "float"
    activations_from: float | None = None
    init: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "learning_rate", "initial_std", "distillation_temperature"):
            value = getattr(self, name)
            require(value is None or 0 < value < math.inf, f"train.{name}", value, "a finite number above 0")
        least, wanted = (0, "0 or more") if self.init else (1, "1 or more, or 0 with train.init")
        require(least <= self.epochs < 2**31, "train.epochs", self.epochs, wanted)
        for name in ("weight_decay", "l1", *(f"rates.{pattern}" for pattern in self.rates)):
            value = self.rates[name.removeprefix("rates.")] if name.startswith("rates.") else getattr(self, name)
            require(0 <= value < math.inf, f"train.{name}", value, "0 or more, finite")
        for name in (
            "momentum",
            "label_smoothing",
            "distillation",
            "ema",
            "validation",
            "dropout",
            "warmup",
            "crop_scale",
        ):
            share = getattr(self, name)
            require(share is None or 0 <= share < 1, f"train.{name}", share, "0 or more, below 1")
        require(self.rate_decay is None or 0 < self.rate_decay <= 1, "train.rate_decay", self.rate_decay,
                "above 0, up to 1")  # fmt: skip
        rising = all(a < b for a, b in itertools.pairwise((0.0, *self.milestones, 1.0)))
        require(rising, "train.milestones", list(self.milestones), "rising shares, above 0 and below 1")
        require(0 <= self.brightness <= 255, "train.brightness", self.brightness, "0 to 255")
        require(0 <= self.contrast <= 1, "train.contrast", self.contrast, "0 to 1")
        require(0 <= self.color_offset <= 10, "train.color_offset", self.color_offset, "0 to 10")
        require(0 <= self.crop_padding <= 64, "train.crop_padding", self.crop_padding, "0 to 64")
        require(0 <= self.cutout <= 4096, "train.cutout", self.cutout, "0 to 4096")
        size = self.initial_image_size
        require(size == 0 or 4 <= size <= 4096, "train.initial_image_size", size, "0, or 4 to 4096")
        begin = self.activations_from
        require(begin is None or 0 <= begin < 1, "train.activations_from", begin, "0 or more, below 1")
        require(self.patience >= 0, "train.patience", self.patience, "0 or more")
        if self.teachers and not self.distillation:
            raise RecipeError("nothing is learnt from the teachers", where="train.teachers", got=list(self.teachers),
                              remedy="give train.distillation, such as 0.9")  # fmt: skip
        if self.patience and not self.validation:
            raise RecipeError("nothing is left out of training to stop by", where="train.patience", got=self.patience,
                              remedy="give train.validation, such as 0.1")  # fmt: skip

    def learning_rate_for(self, bits: int = 8, *, compressed: bool = False) -> float:
        """The peak rate, or where it is left out that of the optimizer, for a new network or a trained one.

        Args:
            bits: a weight, of the build.
            compressed: compression methods follow, whose retraining starts from a share of the rate.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        rate = LEARNING_RATES[self.optimizer]
        if not self.init or compressed:
            return rate
        share = next((share for width, share in FINE_TUNING_SHARES.items() if width <= bits), FINE_TUNING_SHARES[2])
        return round(rate * share, 12)

    def warmup_for(self) -> float:
        """The share of the steps that the rate rises, or where it is left out that of the schedule."""
        return WARMUP.get(self.rate_schedule, 0.0) if self.warmup is None else self.warmup

    def rate_decay_for(self) -> float:
        """What the rate is multiplied by: at each milestone with ``step``, an epoch with ``exponential``."""
        if self.rate_decay is not None:
            return self.rate_decay
        return STEP_DECAY if self.rate_schedule == "step" else LAST_SHARE ** (1 / self.epochs)

    @property
    def share_of_float_activations(self) -> float:
        """``activations_from``, or what it is where it is left out: a trained network may be rounded at once."""
        if self.activations_from is not None:
            return self.activations_from
        return 0.0 if self.init else 0.5
