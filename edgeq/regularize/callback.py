"""The periodic term as a Lightning callback: schedules by epoch, gradient each step, figures for the logger."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning.pytorch import Callback

from edgeq.errors import RecipeError
from edgeq.recipe import STEPS_A_RAISE, RegularizerRecipe
from edgeq.regularize.regularizer import PeriodicRegularizer, RegularizerLog
from edgeq.regularize.schedule import AmplitudeSchedule, FrequencySchedule

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch.optim import Optimizer

__all__ = ["PeriodicRegularizerCallback"]


class PeriodicRegularizerCallback(Callback):
    """Add the periodic term's gradient before each optimizer step of anyone's LightningModule.

    The hook runs once an optimizer step, whatever the gradient accumulation, after a GradScaler has unscaled and before
    gradients are clipped. The schedules are functions of ``trainer.current_epoch``, so a resumed run needs no state.

    Every ``trainer.log_every_n_steps`` steps the loggers get ``regularizer/value``, ``/distance`` (steps),
    ``/share_on_grid``, ``/amplitude`` and ``/frequency``.

    Args:
        recipe: function, amplitude, schedules and scale.
        bits: bits a weight at the end.
        epochs: of the whole training; left out, it is ``trainer.max_epochs``.

    Attributes:
        regularizer: the term, once fitting has begun.
        last: what the last step logged.

    Raises:
        RecipeError: when fitting begins, if the number of epochs is not known.
    """

    def __init__(self, recipe: RegularizerRecipe, *, bits: int = 8, epochs: int | None = None) -> None:
        super().__init__()
        self.regularizer: PeriodicRegularizer | None = None
        self.last: RegularizerLog | None = None
        self._recipe, self._bits, self._epochs = recipe, bits, epochs

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epochs = self._epochs or trainer.max_epochs or 0
        if epochs < 1:
            raise RecipeError(
                "the schedule needs to know the number of epochs",
                where="PeriodicRegularizerCallback",
                remedy="give Trainer(max_epochs=...) or the callback's epochs",
            )
        recipe = self._recipe
        self._epochs = epochs
        self._frequencies = FrequencySchedule.from_recipe(recipe, self._bits, epochs)
        self.regularizer = PeriodicRegularizer(
            pl_module,
            function=recipe.function,
            bits=self._bits,
            amplitude=recipe.amplitude_for(self._bits),
            scale=recipe.scale,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._epochs is not None
        steps = trainer.num_training_batches  # known from here on; infinite for a loader without a length
        count = int(steps) if math.isfinite(steps) else STEPS_A_RAISE
        self._amplitudes = AmplitudeSchedule.from_recipe(self._recipe, self._bits, self._epochs, count)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.regularizer is not None
        epoch = min(trainer.current_epoch, self._amplitudes.epochs - 1)
        self.regularizer.amplitude = self._amplitudes.at(epoch)
        self.regularizer.frequency = self._frequencies.at(epoch)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert self.regularizer is not None
        self.last = self.regularizer.add_gradient()
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and trainer.global_step % every == 0:
            self._log(trainer, self.last)

    def _log(self, trainer: Trainer, log: RegularizerLog) -> None:
        assert self.regularizer is not None
        metrics = {
            "regularizer/value": float(log.value),
            "regularizer/distance": float(log.distance),
            "regularizer/share_on_grid": float(log.share_on_grid),
            "regularizer/amplitude": self.regularizer.amplitude,
            "regularizer/frequency": self.regularizer.frequency,
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)
