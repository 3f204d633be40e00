"""When a training rounds its activations, and what a resumed one needs to know of their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lightning.pytorch import Callback

from edgeq.activations.rounding import ActivationRounding
from edgeq.train.checkpoint import ACTIVATION_RANGES

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

__all__ = ["ActivationCallback"]

HELD: Final = 0.1
STEPS_BETWEEN_LOOKS: Final = 4  # reading the ranges makes the host wait for a GPU


class ActivationCallback(Callback):
    """Look at the ranges in the first step, round from the next on, follow the ranges now and then, hold them at last.

    Args:
        rounding: of the network that is trained.
        begin: the share of the steps before the first look.
        steps: of the whole training.
    """

    def __init__(self, rounding: ActivationRounding, begin: float, steps: int) -> None:
        super().__init__()
        self._rounding = rounding
        self._first = min(round(steps * begin), steps - 1)
        self._hold = max(round(steps * (1 - HELD)), self._first + 1)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        done = trainer.global_step - self._first
        self._rounding.rounding = done >= 0
        self._rounding.watching = (
            done >= 0 and done % STEPS_BETWEEN_LOOKS == 0 and trainer.global_step < self._hold
        ) or (done >= 0 and not self._rounding.seen)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._rounding.watching = False

    def state_dict(self) -> dict[str, Any]:
        return {ACTIVATION_RANGES: {name: list(ends) for name, ends in self._rounding.seen.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._rounding.load(state_dict[ACTIVATION_RANGES])
