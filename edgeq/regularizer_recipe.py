"""The part ``[regularizer]`` of a recipe: how the periodic term pulls, when, and on which scale. No torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Final, Literal

from edgeq.grid import Function, bits_to_frequency
from edgeq.strict_toml import require

__all__ = ["RegularizerRecipe"]

AMPLITUDE_AT_8_BITS: Final = 1e-5
STEPS_A_RAISE: Final = 32
CLIPS: Final = {2: 2.0, 3: 1.6, 4: 2.6, 7: 3.0, 8: 3.5, 16: 4.0}  # means of |w|, by the grid's points at most


@dataclass(frozen=True, slots=True)
class RegularizerRecipe:
    """The periodic term (eq. 7-13).

    Attributes:
        function: ``sine``, ``cosine`` or ``hat``.
        form: ``loss`` (the paper's: its gradient is added to the loss's), ``decoupled`` (weights are moved towards
            their points after each step, whatever the rate), or ``latent`` (the network computes with such moved
            copies, and gradients add up in the weights beneath); left out, ``latent`` at 4 bits and fewer where no
            amplitude is given, else ``loss``.
        amplitude: of form ``loss``: a of eq. (8) and (9); the final value when the schedule is dynamic. 0 turns the
            term off; left out, it follows the bits (:meth:`amplitude_for`).
        schedule: ``fixed``, or ``dynamic``: raised by ``factor`` every ``every`` epochs so that it ends at
            ``amplitude``.
        factor: what the dynamic schedule multiplies the amplitude by.
        every: epochs between raises; left out, as many as make up 32 steps (:meth:`every_for`).
        eta: of forms ``decoupled`` and ``latent``: the share of its distance that a weight near its point moves at the
            end; 0 turns the pull off.
        eta_start: the same in the first step with a pull; it rises geometrically, in a line with ``latent``.
        pull: share of the steps with a pull, the last ones; left out, 0.2; with ``latent`` half of
            them, and all where ``train.init`` is given.
        settle: share of the steps with a pull that are left when eta has reached its end; left out, 0.25, and with
            ``latent`` 2/3, or 0.9 where ``train.init`` is given.
        scale_update: ``live`` (c is ``max|w|`` in every step), ``held`` (c stays as it is from some step on, so that
            the grid stays where it is) or ``learned`` (held, and from then on it follows the loss's gradient, weights
            on the grid with it); with form ``loss`` also ``differentiated`` (live, and no constant to the term, whose
            gradient goes through the max to the largest weight, as in the paper's snippet); left out, ``live`` with
            form ``loss`` and ``held`` else.
        hold_epoch: epochs before c is held; left out, it is held when the pull begins, and with form ``loss`` after two
            thirds of the epochs.
        clip: when c is held, it becomes ``clip * mean|w|`` where that is below ``max|w|``, and larger weights are
            brought back to it; 0 keeps ``max|w|``; left out, it follows the bits (:meth:`clip_for`).
        scale: ``tensor`` (one c a layer, as in the paper) or ``channel`` (one an output channel).
        stages: bits to go through before the build's, falling: ``[8, 4]`` trains towards 8, then 4, then ``bits``, for
            a third of the epochs each. A scale is held, and eta rises, anew in each.
    """

    function: Function = "sine"
    form: Literal["loss", "decoupled", "latent"] | None = None
    amplitude: float | None = None
    schedule: Literal["fixed", "dynamic"] = "dynamic"
    factor: float = 10.0
    every: int | None = None
    eta: float = 1.0
    eta_start: float = 1e-4
    pull: float | None = None
    settle: float | None = None
    scale_update: Literal["live", "held", "learned", "differentiated"] | None = None
    hold_epoch: int | None = None
    clip: float | None = None
    scale: Literal["tensor", "channel"] = "tensor"
    stages: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.amplitude is not None:
            require(0 <= self.amplitude < math.inf, "regularizer.amplitude", self.amplitude, "0 or more, finite")
        require(1 <= self.factor < math.inf, "regularizer.factor", self.factor, "1 or more, finite")
        require(self.every is None or self.every >= 1, "regularizer.every", self.every, "1 or more")
        require(0 <= self.eta <= 1, "regularizer.eta", self.eta, "0 to 1")
        require(0 < self.eta_start <= 1, "regularizer.eta_start", self.eta_start, "above 0, up to 1")
        require(self.pull is None or 0 < self.pull <= 1, "regularizer.pull", self.pull, "above 0, up to 1")
        require(self.settle is None or 0 <= self.settle <= 1, "regularizer.settle", self.settle, "0 to 1")
        require(self.hold_epoch is None or self.hold_epoch >= 0, "regularizer.hold_epoch", self.hold_epoch, "0 or more")
        if self.clip is not None:
            require(0 <= self.clip < math.inf, "regularizer.clip", self.clip, "0 or more, finite")

    def resolved(self, bits: int, *, fine_tuning: bool = False) -> RegularizerRecipe:
        """The same with what follows from the bits filled in; ``every`` and ``clip``, which layers and stages of other
        bits have a value of their own of, stay left out.

        Of three epochs of fine-tuning at 2 bits, weights that came to their points in the last steps alone left a
        ResNet-20's batch norm so far behind that it guessed: hence ``settle``.

        Args:
            bits: of the build.
            fine_tuning: the training starts from a trained network, whose weights a pull may take at once.
        """
        form = self.form_for(bits)
        latent = form == "latent"
        given = dataclasses.replace(self, form=form, amplitude=self.amplitude_for(bits))
        pull = (1.0 if fine_tuning else 0.5) if latent else 0.2
        settle = (0.9 if fine_tuning else 2 / 3) if latent else 0.25
        return dataclasses.replace(
            given,
            pull=pull if self.pull is None else self.pull,
            settle=settle if self.settle is None else self.settle,
            scale_update=self.scale_update or ("live" if form == "loss" else "held"),
        )

    @property
    def live(self) -> bool:
        """Whether c follows the weights in every step."""
        return self.scale_update in ("live", "differentiated")

    def form_for(self, bits: int) -> Literal["loss", "decoupled", "latent"]:
        """The form, or where it is left out the one that does best at so many bits."""
        return self.form or ("latent" if bits <= 4 and self.amplitude is None else "loss")

    def hold_epoch_for(self, epochs: int) -> int | None:
        """Epochs before c is held, in a training of so many; None where that is when the pull begins, or never."""
        if self.live:
            return None
        if self.hold_epoch is None and self.form == "loss":
            return 2 * epochs // 3
        return self.hold_epoch

    def every_for(self, steps_per_epoch: int) -> int:
        """The epochs between raises, or where they are left out the fewest of 32 steps.

        Weights come to rest within so many steps of the last rates; what is longer takes epochs from the training.
        """
        return self.every or math.ceil(STEPS_A_RAISE / max(steps_per_epoch, 1))

    def clip_for(self, bits: int) -> float:
        """The clip, or where it is left out the one that rounds a trained network's weights with the least squared
        error at 4 bits and fewer, and 0 above.

        The largest weight of a ResNet-20's layer is 5 to 10 times the mean. A grid of 15 points that reaches to it has
        twice the error of one that reaches to 4 means, and one of 3 points has nearly all weights at zero.
        """
        if self.clip is not None:
            return self.clip
        points = 2**bits if self.function == "cosine" else 2**bits - 1
        return next((clip for most, clip in CLIPS.items() if points <= most), 0.0)

    def amplitude_for(self, bits: int) -> float:
        """The amplitude, or where it is left out the one whose curvature ``2 a (pi f / c)^2`` is that of 1e-5 at 8
        bits.

        An optimizer step is stable below a curvature set by its rate, so the amplitude must fall with f squared.
        1e-5 at f = 127 brought a ResNet-20's weights to rest within 0.01 step without costing accuracy.
        """
        if self.amplitude is not None:
            return self.amplitude
        return AMPLITUDE_AT_8_BITS * (bits_to_frequency(8) / bits_to_frequency(bits, self.function)) ** 2
