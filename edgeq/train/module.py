"""The LightningModule: makes batches on the device, takes the loss, keeps the history. Lightning is imported here."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.nn import functional

from edgeq.compress.method import Constraint
from edgeq.data import ImageData, normalize
from edgeq.errors import ModelError
from edgeq.progress import Task
from edgeq.recipe import Recipe
from edgeq.regularize.callback import PeriodicRegularizerCallback
from edgeq.rounding.attach import project
from edgeq.rounding.progressive import begin_widths, each_width, zero_of_all_widths
from edgeq.tasks import target_of
from edgeq.train.augmentation import Augmentation
from edgeq.train.batches import (
    EpochBatches,
    epoch_generator,
    epoch_order,
    epoch_seed,
    epochs_between_tests,
    split_rows,
)
from edgeq.train.checkpoint import EDGEQ_KEY
from edgeq.train.feed import Feed
from edgeq.train.optimizer import make_optimizer, make_rate_schedule
from edgeq.train.rates import set_training
from edgeq.train.result import EpochLog

__all__ = ["TrainingModule"]

TEST_BATCH: Final = 500
TEACHER_BATCH: Final = 64  # on a CPU, whose caches hold what more images of a larger network pass on no longer
STEPS_BETWEEN_READS: Final = {"cpu": 1, "cuda": 32}  # reading the loss makes the host wait for a GPU


class TrainingModule(LightningModule):
    """One training of a network on images that lie on its device.

    Args:
        model: the network, logits [N, classes] out of images [N, C, H, W].
        data: the images; moved to the device when training starts, or batch by batch where they are on disk.
        recipe: seed and training.
        regularizer: the callback that adds the periodic term; asked for its figures at the end of an epoch.
        precision: ``bf16`` or ``fp32``.
        constraints: whose additions to the loss are taken.
        teacher: the network whose answers distillation takes; evaluated only.
    """

    def __init__(
        self,
        model: nn.Module,
        data: ImageData,
        recipe: Recipe,
        regularizer: PeriodicRegularizerCallback,
        precision: str,
        constraints: Sequence[Constraint] = (),
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self._rows, self._left_out = split_rows(len(data.train_images), recipe.train.validation, recipe.seed)
        self.batches = EpochBatches(len(self._rows), recipe.train.batch_size)
        self.history: list[EpochLog] = []
        self.fingerprint: dict[str, Any] = {}
        self.task: Task | None = None
        self.average: WeightAveraging | None = None
        self.started = False
        self._data = data
        self._regularizer = regularizer
        self._compute_dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        always = recipe.train.patience > 0  # the last epoch is tested, and any may be it
        self._test_every = 1 if always else epochs_between_tests(len(data.train_images), len(data.test_images))
        self._decaying = [p for p in model.parameters() if p.dim() >= 2 and p.requires_grad] if recipe.train.l1 else []
        self._pending: list[Tensor] = []
        self._augment = Augmentation.of(recipe.train, data)
        self._penalties = [item.penalty for item in constraints if item.penalty is not None]
        # In a list, so that it is no part of this module, nor of its checkpoint.
        self._teacher = [teacher] if teacher is not None and recipe.train.distillation else []

    def __getstate__(self) -> dict[str, Any]:
        """Weight averaging copies the module; a copy needs the network, and neither images nor what shows progress."""
        left: dict[str, Any] = {"_data": None, "task": None, "average": None, "_regularizer": None, "_teacher": []}
        return super().__getstate__() | left

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.model, self.recipe.train)
        steps = self.recipe.train.epochs * len(self.batches)
        schedule = make_rate_schedule(optimizer, self.recipe.train, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        keep = torch.device("cpu") if self._data.on_disk else self.device
        self._images = self._data.train_images.to(keep)
        self._labels = self._data.train_labels.to(self.device)
        self._test_images = self._data.test_images.to(keep)
        self._test_labels = self._data.test_labels.to(self.device)
        self._teacher = [self._teaching(teacher) for teacher in self._teacher]

    def on_train_epoch_start(self) -> None:
        self.started = True
        seed, epoch = self.recipe.seed, self.current_epoch
        order = self._rows[epoch_order(len(self._rows), seed, epoch)]
        self._order = order.to(self.device)
        if self._data.on_disk:
            self._feed = Feed(self._images, (order[slice(*bounds)] for bounds in self.batches))
        self._generator = epoch_generator(seed, epoch, "augment")
        torch.manual_seed(epoch_seed(seed, epoch, "network"))  # dropout, in an epoch that is run again
        self._correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self._loss_sum = 0.0
        begin_widths(self.model, epoch, self.recipe.train.epochs)
        self._started = time.perf_counter()

    def training_step(self, bounds: tuple[int, int], batch_index: int) -> Tensor:
        chosen = self._order[slice(*bounds)]
        images = next(self._feed).to(self.device) if self._data.on_disk else self._images[chosen]
        whole = self._augment(images, self._generator)
        inputs = self._inputs(self._augment.resized(whole, self.current_epoch))
        labels, smoothing = self._labels[chosen], self.recipe.train.label_smoothing
        losses, answers = [], self._answers(whole, inputs)
        for _ in each_width(self.model, self.current_epoch, self.recipe.train.epochs):
            logits = self.model(inputs).float()
            losses.append(self._distilled(self._loss(logits, inputs, labels, smoothing), logits, answers))
        loss = torch.stack(losses).mean() + zero_of_all_widths(self.model)
        for penalty in self._penalties:
            loss = loss + penalty()
        if self.recipe.task == "classify":
            self._correct += (logits.detach().argmax(1) == labels).sum()
        self._pending.append(loss.detach())
        if len(self._pending) >= STEPS_BETWEEN_READS[self.device.type]:
            self._read_losses(batch_index)
        return loss + self.recipe.train.l1 * sum(p.abs().sum() for p in self._decaying) if self._decaying else loss

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        project(self.model)
        if self.task is not None:
            self.task.advance()

    def on_train_epoch_end(self) -> None:
        self._read_losses(len(self.batches) - 1)
        self._check_weights()
        seconds = time.perf_counter() - self._started
        last = self.current_epoch == self.recipe.train.epochs - 1
        tested = last or self.current_epoch % self._test_every == self._test_every - 1
        with self._averaged():
            log = self._epoch_log(self.test() if tested else None, seconds)
        self.history.append(log)
        self._log_metrics(log)
        if log.validation_loss is not None:
            self.log("validation/loss", log.validation_loss)
        if self.task is not None:
            self.task.advance(0, _note(log, self.recipe.train.epochs))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        history = [dataclasses.asdict(log) for log in self.history]
        checkpoint[EDGEQ_KEY] = {"fingerprint": self.fingerprint, "history": history}

    @torch.no_grad()
    def test(self) -> float:
        """Accuracy of the whole test set in percent, or the mean squared error; in the training's precision."""
        rows = torch.arange(len(self._test_labels))
        if self.recipe.task != "classify":
            return self._mean_loss(self._test_images, self._test_labels, rows)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for logits, _, labels in self._run(self._test_images, self._test_labels, rows):
            correct += (logits.argmax(1) == labels).sum()
        return 100.0 * int(correct) / len(self._test_labels)

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        """Mean loss of the images left out of training; None where there are none."""
        return self._mean_loss(self._images, self._labels, self._left_out) if len(self._left_out) else None

    def _mean_loss(self, images: Tensor, labels: Tensor, rows: Tensor) -> float:
        losses = [
            self._loss(logits.float(), inputs, labels) * len(labels)
            for logits, inputs, labels in self._run(images, labels, rows)
        ]
        return float(torch.stack(losses).sum()) / len(rows)

    def _loss(self, outputs: Tensor, inputs: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, or squared error where the target follows from the input; a mean over the batch."""
        if self.recipe.task == "classify":
            return functional.cross_entropy(outputs, labels, label_smoothing=smoothing)
        return functional.mse_loss(outputs, target_of(self.recipe.task, inputs.float()))

    def _teaching(self, teacher: nn.Module) -> nn.Module:
        """A copy that answers fast: weights as they are computed with, which autocast would convert at each step."""
        copied = copy.deepcopy(teacher).eval().requires_grad_(False).to(self.device, self._compute_dtype)
        copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return copied

    @torch.no_grad()
    def _answers(self, whole: Tensor, inputs: Tensor) -> Tensor | None:
        """The teacher's log-probabilities, where there is one, of whole images uint8 [N, C, H, W]; ``inputs`` are what
        the network sees of them, and the same where they are as large."""
        if not self._teacher:
            return None
        inputs = inputs if inputs.shape == whole.shape else self._inputs(whole)
        parts = torch.split(inputs, TEACHER_BATCH if self.device.type == "cpu" else len(inputs))
        logits = torch.cat([self._teacher[0](part) for part in parts]).float()
        return (logits / self.recipe.train.distillation_temperature).log_softmax(1)

    def _distilled(self, loss: Tensor, logits: Tensor, answers: Tensor | None) -> Tensor:
        """The loss with its share of the divergence from the teacher."""
        if answers is None:
            return loss
        share, temperature = self.recipe.train.distillation, self.recipe.train.distillation_temperature
        found = (logits / temperature).log_softmax(1)
        far = functional.kl_div(found, answers, reduction="batchmean", log_target=True)
        return (1 - share) * loss + share * temperature**2 * far

    def _run(self, images: Tensor, labels: Tensor, rows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Outputs, inputs and labels of rows, batch by batch, with the network in evaluation mode meanwhile."""
        self.model.eval()
        with torch.autocast(self.device.type, self._compute_dtype, enabled=self._compute_dtype == torch.bfloat16):
            for chosen in torch.split(rows, TEST_BATCH):
                chosen_images = self._data.as_seen(images[chosen.to(images.device)].to(self.device))
                inputs = self._inputs(chosen_images)
                yield self.model(inputs), inputs, labels[chosen.to(self.device)]
        set_training(self.model, self.recipe.train.rates)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, where there is an average."""
        if self.average is None:
            yield
            return
        self.average.on_validation_epoch_start(self.trainer, self)
        try:
            yield
        finally:
            self.average.on_validation_epoch_end(self.trainer, self)

    def _inputs(self, images: Tensor) -> Tensor:
        return normalize(images, self._compute_dtype).contiguous(memory_format=torch.channels_last)

    def _read_losses(self, batch_index: int) -> None:
        losses = torch.stack(self._pending).tolist() if self._pending else []
        first = batch_index - len(losses) + 1
        self._pending.clear()
        for step, loss in enumerate(losses, first):
            if not math.isfinite(loss):
                raise self._diverged("the loss is not a finite number", step, loss)
            self._loss_sum += loss

    def _check_weights(self) -> None:
        """A last step can break the weights without a loss to show it."""
        norms = torch._foreach_norm([parameter.detach() for parameter in self.model.parameters()])
        if not bool(torch.isfinite(torch.stack(norms)).all()):
            raise self._diverged("the weights are not finite numbers", len(self.batches) - 1, "NaN or infinity")

    def _diverged(self, what: str, step: int, got: object) -> ModelError:
        return ModelError(
            f"training diverged: {what}",
            where=f"epoch {self.current_epoch + 1}, step {step + 1} of {len(self.batches)}",
            got=got,
            remedy="lower --amplitude or the learning rate",
        )

    def _epoch_log(self, tested: float | None, seconds: float) -> EpochLog:
        regularizer = self._regularizer.regularizer
        assert regularizer is not None
        figures, classes = regularizer.measure(), self.recipe.task == "classify"
        return EpochLog(
            epoch=self.current_epoch,
            loss=self._loss_sum / len(self.batches),
            train_accuracy=100.0 * int(self._correct) / self.batches.images if classes else None,
            test_accuracy=tested if classes else None,
            learning_rate=self._rate,
            amplitude=regularizer.amplitude,
            frequency=regularizer.frequency,
            value=float(figures.value),
            distance=float(figures.distance),
            share_on_grid=float(figures.share_on_grid),
            seconds=seconds,
            eta=self._regularizer.eta,
            validation_loss=self.validation_loss(),
            test_error=None if classes else tested,
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._rate = max(float(group["lr"]) for group in optimizer.param_groups)

    def _log_metrics(self, log: EpochLog) -> None:
        found = {
            **{"train/loss": log.loss, "train/accuracy": log.train_accuracy, "train/rate": log.learning_rate},
            **{"test/accuracy": log.test_accuracy, "test/error": log.test_error},
            "validation/loss": log.validation_loss,
        }
        metrics = {name: value for name, value in found.items() if value is not None}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.global_step)


def _note(log: EpochLog, epochs: int) -> str:
    accuracy = "" if log.test_accuracy is None else f", test {log.test_accuracy:.2f} %"
    accuracy += "" if log.test_error is None else f", test error {log.test_error:.3g}"
    pulled = {"eta": log.eta, "amplitude": log.amplitude}
    strength = "".join(f", {name} {value:.1e}" for name, value in pulled.items() if value)
    return f"epoch {log.epoch + 1}/{epochs}, loss {log.loss:.4f}{accuracy}{strength}, distance {log.distance:.3f}"
