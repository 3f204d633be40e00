"""What training leaves behind, as plain frozen data. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeq.activations import ActivationRounding
    from edgeq.rounding.progressive import Width

__all__ = ["EpochLog", "TrainResult"]


@dataclass(frozen=True, slots=True)
class EpochLog:
    """One epoch.

    Attributes:
        epoch: counted from 0.
        loss: mean cross-entropy (squared error, where there are no classes) over the epoch's batches, without the
            periodic term.
        train_accuracy: in percent, of the augmented batches, while the weights moved; None where there are no classes.
        test_accuracy: in percent, of the whole test set, in the training's precision; None in an epoch that skipped it.
        learning_rate: of the last step, of the fastest layers.
        amplitude: of the periodic term.
        frequency: of the periodic term.
        value: the periodic term after the last step, amplitude included.
        distance: mean distance of the weights from the grid after the last step, in steps, 0 to 0.5.
        share_on_grid: share of the weights within 0.05 steps of the grid after the last step, 0 to 1.
        seconds: of the training steps; the test set and the checkpoint are not counted.
        eta: of the last step's decoupled pull.
        test_error: mean squared error of the test set, where there are no classes; None in an epoch that skipped it.
        validation_loss: of the images left out of training; None where there are none.
    """

    epoch: int
    loss: float
    train_accuracy: float | None
    test_accuracy: float | None
    learning_rate: float
    amplitude: float
    frequency: float
    value: float
    distance: float
    share_on_grid: float
    seconds: float
    eta: float = 0.0
    validation_loss: float | None = None
    test_error: float | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training.

    Attributes:
        history: all epochs in order, those before a resume included.
        images_per_second: training images a second of training steps.
        precision: ``bf16`` or ``fp32``, what the network was computed in.
        device: ``cpu`` or ``cuda``.
        activations: where and over which ranges activations were rounded; None where they were not.
        widths: of a bit-progressive training, the network at each number of bits; else empty.
        scales: by layer, the c that the decoupled pull held, float32 [1] or [O]; empty where c was ``max|w|``.
    """

    history: tuple[EpochLog, ...]
    images_per_second: float
    precision: str
    device: str
    scales: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    widths: tuple[Width, ...] = ()
    activations: ActivationRounding | None = None

    @property
    def test_accuracy(self) -> float:
        """In percent, after the last epoch, in the training's precision."""
        last = self.history[-1].test_accuracy
        assert last is not None  # the last epoch is always tested
        return last
