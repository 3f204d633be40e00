"""How amplitude, frequency and eta change over a training: pure functions of epoch or step, so a resumed run needs no
state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgeq.errors import RecipeError
from edgeq.grid import Function, bits_to_frequency
from edgeq.recipe import RegularizerRecipe

__all__ = ["AmplitudeSchedule", "EtaSchedule", "FrequencySchedule", "Stage", "amplitude_to_eta", "eta_to_amplitude"]


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
class Stage:
    """Epochs at one number of bits.

    Attributes:
        bits: of the grid.
        first, last: its epochs, counted from 0, the last included.
    """

    bits: int
    first: int
    last: int

    @property
    def epochs(self) -> int:
        """How many epochs the stage has."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class FrequencySchedule:
    """The frequency of each epoch: that of each of ``stages`` first, for equal times, ``bits`` at the end.

    Attributes:
        bits: of the final grid.
        epochs: of the whole training; the last epoch always runs at ``bits``.
        function: the periodic function.
        stages: bits before those; none keeps the frequency.
    """

    bits: int
    epochs: int
    function: Function = "sine"
    stages: tuple[int, ...] = ()

    @classmethod
    def from_recipe(cls, recipe: RegularizerRecipe, bits: int, epochs: int) -> FrequencySchedule:
        """The schedule that a recipe asks for."""
        return cls(bits, epochs, recipe.function, recipe.stages)

    def stage_at(self, epoch: int) -> Stage:
        """The stage of an epoch, counted from 0; with fewer epochs than stages the last ones are left.

        Raises:
            RecipeError: the epoch is not 0 to epochs - 1.
        """
        _check_epoch(epoch, self.epochs)
        widths = (*self.stages, self.bits)[-self.epochs :]
        bounds = [number * self.epochs // len(widths) for number in range(len(widths) + 1)]
        number = next(number for number in range(len(widths)) if epoch < bounds[number + 1])
        return Stage(widths[number], bounds[number], bounds[number + 1] - 1)

    def at(self, epoch: int) -> int:
        """The frequency of an epoch, counted from 0.

        Raises:
            RecipeError: the epoch is not 0 to epochs - 1.
        """
        return bits_to_frequency(self.stage_at(epoch).bits, self.function)


@dataclass(frozen=True, slots=True)
class EtaSchedule:
    """The strength of the pull in each step: nothing, then a rise, then its final value.

    Weights move freely first. The pull begins so weak that the loss still decides. Once every weight is on its point,
    batch norm, biases and the scales that are learned have the rest of the steps to follow.

    Attributes:
        steps: of the whole training, or of one stage of it.
        pull: share of the steps with a pull, the last ones, above 0 and up to 1.
        start, end: eta at the first of them and from the end of the rise on.
        settle: share of the steps with a pull after the rise, 0 to 1.
        rise: ``geometric``, or ``linear``, for a pull whose effects do not add up.
    """

    steps: int
    pull: float
    start: float
    end: float
    settle: float = 0.0
    rise: Literal["geometric", "linear"] = "geometric"

    @classmethod
    def from_recipe(cls, recipe: RegularizerRecipe, steps: int) -> EtaSchedule:
        """The schedule that a resolved recipe asks for, in a training or a stage of so many steps."""
        rise: Literal["geometric", "linear"] = "linear" if recipe.form == "latent" else "geometric"
        return cls(steps, recipe.pull or 1.0, recipe.eta_start, recipe.eta, recipe.settle or 0.0, rise)

    @property
    def first(self) -> int:
        """The first step with a pull, counted from 0; the number of steps where there is none."""
        return self.steps - max(1, round(self.steps * self.pull)) if self.end else self.steps

    def at(self, step: int) -> float:
        """Eta of a step, counted from 0; steps after the last have the last one's."""
        if step < self.first:
            return 0.0
        rising = round((self.steps - 1 - self.first) * (1 - self.settle))
        done = min(1.0, (step - self.first) / rising) if rising else 1.0
        if self.rise == "linear":
            return self.start + (self.end - self.start) * done
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
