"""The periodic term as a Lightning callback: schedules by epoch, gradient each step, figures for the logger."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from edgeq.errors import RecipeError
from edgeq.grid import Grid
from edgeq.regularize.regularizer import PeriodicRegularizer, RegularizerLog
from edgeq.regularize.schedule import AmplitudeSchedule, EtaSchedule, FrequencySchedule
from edgeq.regularizer_recipe import STEPS_A_RAISE, RegularizerRecipe

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor
    from torch.optim import Optimizer

__all__ = ["PeriodicRegularizerCallback"]


class PeriodicRegularizerCallback(Callback):
    """Pull the weights of anyone's LightningModule towards their grid, once an optimizer step.

    With the form ``loss`` the term's gradient is added before the step, after a GradScaler has unscaled and before
    gradients are clipped. With ``decoupled`` weights are moved after it; with ``latent`` they are so between the steps,
    and those beneath take the optimizer's. The schedules are functions of epoch and step; what a resumed run needs
    besides, held scales and weights beneath, is in the checkpoint.

    Every ``trainer.log_every_n_steps`` steps the loggers get ``regularizer/value``, ``/distance`` (steps),
    ``/share_on_grid``, ``/amplitude`` (form ``loss``), ``/eta`` (else) and ``/frequency``.

    Args:
        recipe: function, amplitude, schedules and scale.
        bits: bits a weight at the end.
        epochs: of the whole training; left out, it is ``trainer.max_epochs``.
        leave: paths, in the LightningModule, of layers that are left as they are.
        layer_bits: other bits at the end for layers, by such paths. In an earlier stage of more bits they have those.
        power_of_two: hold scales at which the grid's step is a power of two.

    Attributes:
        regularizer: the term, once fitting has begun.
        last: what the last step logged.
        eta: of the last step; 0 with the form ``loss``.

    Raises:
        RecipeError: when fitting begins, if the number of epochs is not known.
    """

    def __init__(
        self,
        recipe: RegularizerRecipe,
        *,
        bits: int = 8,
        epochs: int | None = None,
        leave: Container[str] = (),
        layer_bits: Mapping[str, int] = MappingProxyType({}),
        power_of_two: bool = False,
    ) -> None:
        super().__init__()
        self.regularizer: PeriodicRegularizer | None = None
        self.last: RegularizerLog | None = None
        self.eta = 0.0
        self._recipe, self._bits, self._epochs = recipe.resolved(bits), bits, epochs
        self._saved: dict[str, dict[str, Tensor]] = {}
        self._leave, self._layer_bits = leave, layer_bits
        self._grid = Grid(bits, recipe.function, power_of_two) if power_of_two else None

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
            amplitude=(recipe.amplitude or 0.0) if recipe.form == "loss" else 0.0,
            scale=recipe.scale,
            leave=self._leave,
            layer_bits=self._layer_bits,
            differentiate_scale=recipe.scale_update == "differentiated",
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._epochs is not None
        steps = trainer.num_training_batches  # known from here on; infinite for a loader without a length
        count = int(steps) if math.isfinite(steps) else STEPS_A_RAISE
        self._amplitudes = AmplitudeSchedule.from_recipe(self._recipe, self._bits, self._epochs, count)
        self._steps_an_epoch = count
        self._steps_done = trainer.global_step
        assert self.regularizer is not None
        self.regularizer.held_scales = self._saved.get("held_scales", {})
        self.regularizer.weights_beneath = self._saved.get("weights_beneath", {})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.regularizer is not None
        assert self._epochs is not None
        epoch = min(trainer.current_epoch, self._epochs - 1)
        if self._recipe.form == "loss":
            self.regularizer.amplitude = self._amplitudes.at(epoch)
        stage = self._stage = self._frequencies.stage_at(epoch)
        self.regularizer.frequency = self._frequencies.at(epoch)
        least = 0 if stage.bits == self._bits else stage.bits
        self.regularizer.layer_bits = {layer: max(bits, least) for layer, bits in self._layer_bits.items()}
        self._etas = EtaSchedule.from_recipe(self._recipe, stage.epochs * self._steps_an_epoch)
        hold = self._recipe.hold_epoch_for(self._epochs)
        if (hold is not None and epoch == max(hold, stage.first)) or (hold is None and epoch == stage.first):
            self._release(hold is not None)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert self.regularizer is not None
        if self._recipe.scale_update == "learned":
            group = optimizer.param_groups[0]
            momentum = float(group.get("momentum", 0.0))
            self.regularizer.learn_scale(float(group["lr"]) / (1 - momentum))
        self.regularizer.take_back()
        if self._recipe.form == "loss":
            self.last = self.regularizer.add_gradient() if self.regularizer.amplitude else None
            self._log_now_and_then(trainer, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._steps_done:  # gradients only add up
            return
        assert self.regularizer is not None
        step, self._steps_done = self._steps_done, trainer.global_step
        if self._recipe.form == "loss":
            self.regularizer.clip()
            return
        done = step - self._stage.first * self._steps_an_epoch
        hold = self._recipe.hold_epoch is None and not self._recipe.live
        if done == self._etas.first and hold:
            self._hold()
        self.eta = self._etas.at(done)
        if self.eta:
            move = self.regularizer.place if self._recipe.form == "latent" else self.regularizer.pull
            self.last = move(self.eta)
        self._log_now_and_then(trainer, step)

    def state_dict(self) -> dict[str, Any]:
        term = self.regularizer
        if term is None:
            return {"held_scales": {}, "weights_beneath": {}}
        return {"held_scales": term.held_scales, "weights_beneath": term.weights_beneath}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = {key: dict(state_dict.get(key, {})) for key in ("held_scales", "weights_beneath")}

    def _release(self, hold: bool) -> None:
        """Begin a stage: weights are free again, over a scale of their own, or one that is held from here on."""
        assert self.regularizer is not None
        self.regularizer.take_back()
        self.regularizer.held_scales = {}
        if hold:
            self._hold()

    def _hold(self) -> None:
        assert self.regularizer is not None
        own = {layer: self._clip(bits) for layer, bits in self.regularizer.layer_bits.items()}
        self.regularizer.hold_scale(self._clip(self._stage.bits), self._grid, own)

    def _clip(self, bits: int) -> float | None:
        return self._recipe.clip_for(bits) or None

    def _log_now_and_then(self, trainer: Trainer, step: int) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and step % every == 0:
            assert self.regularizer is not None
            self._log(trainer, self.last if self.last is not None else self.regularizer.measure())

    def _log(self, trainer: Trainer, log: RegularizerLog) -> None:
        assert self.regularizer is not None
        metrics = {
            "regularizer/value": float(log.value),
            "regularizer/distance": float(log.distance),
            "regularizer/share_on_grid": float(log.share_on_grid),
            **self._strength(),
            "regularizer/frequency": self.regularizer.frequency,
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def _strength(self) -> dict[str, float]:
        assert self.regularizer is not None
        if self._recipe.form != "loss":
            return {"regularizer/eta": self.eta}
        return {"regularizer/amplitude": self.regularizer.amplitude}
