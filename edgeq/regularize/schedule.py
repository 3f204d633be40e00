"""How amplitude, frequency and eta change over a training: pure functions of epoch or step, so a resumed run needs no
state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgeq.errors import RecipeError
from edgeq.grid import Function, bits_to_frequency
from edgeq.recipe import RegularizerRecipe

__all__ = ["AmplitudeSchedule", "EtaSchedule", "FrequencySchedule", "amplitude_to_eta", "eta_to_amplitude"]


def _check_epoch(epoch: int, epochs: int) -> None:
    if not 0 <= epoch < epochs:
        raise RecipeError("no such epoch", where="schedule", got=epoch, wanted=f"0 to {epochs - 1}")


@dataclass(frozen=True, slots=True)
class AmplitudeSchedule:
    """The amplitude of each epoch.

    ``fixed`` keeps it. ``dynamic`` starts small and multiplies it by ``factor`` every ``every`` epochs, so that the
    last ``every`` epochs run at ``amplitude``: periods are counted from the end, and the first may be shorter.

    Attributes:
        amplitude: the final a, 0 or more.
        epochs: of the whole training.
        schedule: ``fixed`` or ``dynamic``.
        factor: of each raise, 1 or more.
        every: epochs between raises.

    Source: the "fixed" and "dyn" rows of table 2 in Naumov et al. 2018.
    """

    amplitude: float
    epochs: int
    schedule: Literal["fixed", "dynamic"] = "dynamic"
    factor: float = 2.0
    every: int = 1

    @classmethod
    def from_recipe(cls, recipe: RegularizerRecipe, bits: int, epochs: int, steps_per_epoch: int) -> AmplitudeSchedule:
        """The schedule that a recipe asks for, in a training of so many epochs of so many steps."""
        every = recipe.every_for(steps_per_epoch)
        return cls(recipe.amplitude_for(bits), epochs, recipe.schedule, recipe.factor, every)

    def at(self, epoch: int) -> float:
        """The amplitude of an epoch, counted from 0.

        Raises:
            RecipeError: the epoch is not 0 to epochs - 1.
        """
        _check_epoch(epoch, self.epochs)
        if self.schedule == "fixed":
            return self.amplitude
        remaining_raises = (self.epochs - 1 - epoch) // self.every
        return self.amplitude * float(self.factor) ** -remaining_raises


@dataclass(frozen=True, slots=True)
class FrequencySchedule:
    """The frequency of each epoch: that of ``start_bits`` first, one bit fewer at equal intervals, ``bits`` at the end.

    Attributes:
        bits: of the final grid.
        epochs: of the whole training; the last epoch always runs at ``bits``.
        function: the periodic function.
        start_bits: at the first epoch; 0 stands for ``bits``, which keeps the frequency.
    """

    bits: int
    epochs: int
    function: Function = "sine"
    start_bits: int = 0

    @classmethod
    def from_recipe(cls, recipe: RegularizerRecipe, bits: int, epochs: int) -> FrequencySchedule:
        """The schedule that a recipe asks for."""
        return cls(bits, epochs, recipe.function, recipe.start_bits)

    def bits_at(self, epoch: int) -> int:
        """The bits of an epoch, counted from 0.

        Raises:
            RecipeError: the epoch is not 0 to epochs - 1.
        """
        _check_epoch(epoch, self.epochs)
        stages = max(self.start_bits, self.bits) - self.bits + 1
        done = stages - 1 if epoch == self.epochs - 1 else epoch * stages // self.epochs
        return self.bits + stages - 1 - done

    def at(self, epoch: int) -> int:
        """The frequency of an epoch, counted from 0.

        Raises:
            RecipeError: the epoch is not 0 to epochs - 1.
        """
        return bits_to_frequency(self.bits_at(epoch), self.function)


@dataclass(frozen=True, slots=True)
class EtaSchedule:
    """The strength of the decoupled pull in each step: nothing, then a geometric rise over the last steps.

    Weights move freely first. The pull begins so weak that the loss still decides, and ends with every weight on its
    point.

    Attributes:
        steps: of the whole training.
        pull: share of the steps over which eta rises, above 0 and up to 1.
        start, end: eta at the first of them and at the last step.
    """

    steps: int
    pull: float
    start: float
    end: float

    @classmethod
    def from_recipe(cls, recipe: RegularizerRecipe, steps: int) -> EtaSchedule:
        """The schedule that a recipe asks for, in a training of so many steps."""
        return cls(steps, recipe.pull, recipe.eta_start, recipe.eta)

    @property
    def first(self) -> int:
        """The first step with a pull, counted from 0; the number of steps where there is none."""
        return self.steps - max(1, round(self.steps * self.pull)) if self.end else self.steps

    def at(self, step: int) -> float:
        """Eta of a step, counted from 0; steps after the last have the last one's."""
        if step < self.first:
            return 0.0
        rising = self.steps - 1 - self.first
        done = min(1.0, (step - self.first) / rising) if rising else 1.0
        return self.start * math.pow(self.end / self.start, done)


def amplitude_to_eta(amplitude: float, rate: float, frequency: float, scale: float) -> float:
    """The eta that pulls a weight near its point as an amplitude does through plain gradient descent.

    Args:
        amplitude: a of eq. (8).
        rate: learning rate; with momentum m, divided by 1 - m.
        frequency: f.
        scale: c of the layer.

    The term's curvature there is ``2 a (pi f / c)^2``, and a step of descent moves by rate times curvature times
    distance.
    """
    return 2 * amplitude * rate * (math.pi * frequency / scale) ** 2


def eta_to_amplitude(eta: float, rate: float, frequency: float, scale: float) -> float:
    """The inverse of :func:`amplitude_to_eta`."""
    return eta / (2 * rate * (math.pi * frequency / scale) ** 2)
