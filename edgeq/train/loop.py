"""Train a network towards its grid with Lightning, and go on where a training stopped."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeq.compress.method import Constraint
from edgeq.data import ImageData
from edgeq.errors import FormatError
from edgeq.models.fold import require_plain_weights
from edgeq.progress import Progress, Silent
from edgeq.recipe import Recipe
from edgeq.regularize.weights import find_weights
from edgeq.rounding.attach import put_rounding_on
from edgeq.rounding.base import take_rounding_off
from edgeq.rounding.options import PROGRESSIVE
from edgeq.rounding.progressive import put_widths_on, take_widths
from edgeq.rounding.table import METHODS
from edgeq.train.batches import EpochBatches, split_rows
from edgeq.train.checkpoint import (
    PREFIX,
    REMEDY,
    activation_ranges_of,
    check_fingerprint,
    fingerprint,
    held_scales_of,
    history_of,
    plain_scales,
    read_checkpoint,
    stopped_early,
    weights_of,
)
from edgeq.train.device import resolve_device, resolve_precision
from edgeq.train.rates import frozen, frozen_layers, set_training
from edgeq.train.resizing import require_smaller_images
from edgeq.train.result import EpochLog, TrainResult
from edgeq.train_recipe import TrainRecipe

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from edgeq.activations import ActivationRounding
    from edgeq.train.module import TrainingModule

__all__ = ["CHECKPOINT", "train"]

CHECKPOINT: Final = Path("checkpoints") / "last.ckpt"
LOG_EVERY_N_STEPS: Final = 20


def train(
    model: nn.Module,
    data: ImageData,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress = Silent(),  # noqa: B008  # has no state
    constraints: Sequence[Constraint] = (),
    made_with: Sequence[str] = (),
    teacher: nn.Module | None = None,
) -> TrainResult:
    """Train a network in place, by the recipe's method: with the periodic term, with rounded weights, or plainly.

    Equal recipe, data and initial weights give equal weights, bit for bit, on the same machine with as many threads;
    so does a training that was stopped and resumed, for order and augmentation depend on seed and epoch alone. Every
    epoch ends with ``checkpoints/last.ckpt`` in ``folder``; TensorBoard's files are in ``logs``.

    Args:
        model: float32; images [N, C, H, W] in, logits [N, classes] out. Ends on the CPU, in eval mode, contiguous.
        data: uint8 images and their classes.
        recipe: its seed, bits, train and regularizer parts; batches hold at least two images.
        folder: where checkpoints and logs go.
        resume: go on from the folder's checkpoint; a finished training is returned at once.
        progress: told of each step, and of each epoch's figures.
        constraints: what compression methods ask of the weights, kept after each step, and their additions to the loss.
        made_with: what was done to the network before, for the fingerprint of its checkpoint.
        teacher: what distillation keeps the network near to; None for the network as it is given.

    Returns:
        The history and the speed.

    Raises:
        RecipeError: cuda is asked for and absent; the network cannot take the first images' size; ``resume`` finds no
            checkpoint, or one of another recipe or data.
        FormatError: the checkpoint is damaged, or holds more than tensors and plain values.
        ModelError: training diverged, the network has no weights to regularize, or the checkpoint is another network's
            or cannot be written.
        DataError: there are fewer than two training images.
        KeyboardInterrupt: Ctrl-C; the last epoch's checkpoint is whole.
    """
    require_plain_weights(model, recipe.method)
    require_smaller_images(model, recipe.train, data.input_shape)
    rate = recipe.train.learning_rate_for(recipe.bits)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, learning_rate=rate))
    device = resolve_device(recipe.train.device)
    made = fingerprint(recipe, data) | ({"compress": list(made_with)} if made_with else {})
    if recipe.train.distillation and teacher is None:
        teacher = copy.deepcopy(model)
    precision = resolve_precision(recipe.train.precision, device)
    run = _Run(recipe, folder, device, precision, made, tuple(constraints), teacher)
    rounding = _rounding(model, data, recipe)
    if recipe.method == PROGRESSIVE:
        put_widths_on(model, recipe)
    elif recipe.method == "straight-through" or recipe.method in METHODS:
        put_rounding_on(model, recipe)
    try:
        past = _read_past(model, run) if resume else _Past()
        if len(past.history) < recipe.train.epochs and not stopped_early(past.checkpoint):
            with frozen(model, recipe.train.rates):
                history, scales = _fit(model, data, run, past, rounding, progress)
        elif not past.history:
            history, scales = [], {}
        else:
            history, scales = past.history, held_scales_of(past.checkpoint, run.checkpoint)
            if rounding is not None:
                _load_ranges(rounding, past, run)
            model.load_state_dict(weights_of(past.checkpoint, model, run.checkpoint))
    finally:
        model.cpu().eval()
        widths = take_widths(model, recipe.rounding.widths, recipe.bits) if recipe.method == PROGRESSIVE else ()
        learned = next((width.scales for width in widths if width.bits == recipe.bits), take_rounding_off(model))
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.zero_grad(set_to_none=True)
    rows, _ = split_rows(len(data.train_images), recipe.train.validation, recipe.seed)
    images = EpochBatches(len(rows), recipe.train.batch_size).images * len(history)
    seconds = sum(log.seconds for log in history)
    rounded = rounding if rounding is not None and rounding.seen else None
    speed = images / seconds if seconds else 0.0
    return TrainResult(tuple(history), speed, run.precision, device.type, scales | learned, widths, rounded)


@dataclass(frozen=True, slots=True)
class _Run:
    recipe: Recipe
    folder: Path
    device: torch.device
    precision: str
    made_with: dict[str, Any]
    constraints: tuple[Constraint, ...] = ()
    teacher: nn.Module | None = None

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT


@dataclass(frozen=True, slots=True)
class _Past:
    """What a resumed training has behind it; nothing, for a new one."""

    checkpoint: dict[str, Any] = field(default_factory=dict)
    history: list[EpochLog] = field(default_factory=list)


def _read_past(model: nn.Module, run: _Run) -> _Past:
    checkpoint = read_checkpoint(run.checkpoint)
    check_fingerprint(checkpoint, run.made_with, run.checkpoint)
    weights_of(checkpoint, model, run.checkpoint)
    return _Past(checkpoint, history_of(checkpoint, run.checkpoint))


def _rounding(model: nn.Module, data: ImageData, recipe: Recipe) -> ActivationRounding | None:
    """What rounds the network's activations; None where they stay float."""
    if recipe.train.activations == "float":
        return None
    from edgeq.activations import ActivationRounding, find_sites

    return ActivationRounding(find_sites(model, data.input_shape, power_of_two=recipe.grid.power_of_two))


def _load_ranges(rounding: ActivationRounding, past: _Past, run: _Run) -> None:
    try:
        rounding.load(activation_ranges_of(past.checkpoint, run.checkpoint))
    except ValueError as error:
        raise FormatError("not a whole checkpoint", where=run.checkpoint, got=error, remedy=REMEDY) from error


def _fit(
    model: nn.Module,
    data: ImageData,
    run: _Run,
    past: _Past,
    rounding: ActivationRounding | None,
    progress: Progress,
) -> tuple[list[EpochLog], dict[str, NDArray[np.float32]]]:
    from lightning.pytorch.callbacks import WeightAveraging

    from edgeq.activations import rounded
    from edgeq.activations.callback import ActivationCallback
    from edgeq.regularize.callback import PeriodicRegularizerCallback
    from edgeq.train.lightning_parts import KeepConstraints, deterministic, interrupts, quiet
    from edgeq.train.module import TrainingModule

    recipe = run.recipe
    term = recipe.regularizer
    names, plan = [weight.layer for weight in find_weights(model)], recipe.plan
    grids = {name: plan.grid_of(name) for name in names}
    left = [name for name, grid in grids.items() if grid is None or grid.function != recipe.grid.function]
    none = len(left) == len(names)
    if recipe.method != "periodic" or none:  # it only measures
        term = dataclasses.replace(term, form="loss", amplitude=0.0, stages=(), scale_update="live")
    leave = frozenset([] if none else [*left, *frozen_layers(model, recipe.train.rates)])
    other = {name: grid.bits for name, grid in grids.items() if grid and grid.bits != recipe.bits and name not in leave}
    regularizer = PeriodicRegularizerCallback(
        term,
        bits=recipe.bits,
        leave=frozenset(f"{PREFIX}{name}" for name in leave),
        layer_bits={f"{PREFIX}{name}": bits for name, bits in other.items()},
        power_of_two=recipe.grid.power_of_two,
    )
    with quiet(), deterministic():
        module = TrainingModule(model, data, recipe, regularizer, run.precision, run.constraints, run.teacher)
        module.fingerprint = run.made_with
        module.history = list(past.history)
        steps = recipe.train.epochs * len(module.batches)
        callbacks: list[Callback] = [KeepConstraints(run.constraints), regularizer, *_extras(recipe.train)]
        if rounding is not None:
            callbacks.append(ActivationCallback(rounding, recipe.train.share_of_float_activations, steps))
        trainer = _trainer(run, callbacks, past)
        module.average = next((item for item in trainer.callbacks if isinstance(item, WeightAveraging)), None)  # type: ignore[attr-defined]
        set_training(model, recipe.train.rates)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        done = len(past.history) * len(module.batches)
        with progress.task("training", steps, done) as module.task, interrupts(), rounded(model, rounding):
            _run_trainer(trainer, module, run, past)
    assert regularizer.regularizer is not None
    return module.history, plain_scales(regularizer.regularizer.held_scales)


def _trainer(run: _Run, callbacks: Sequence[Callback], past: _Past) -> Trainer:
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    from edgeq.train.lightning_parts import LastCheckpoint, WholeCheckpointIO

    return Trainer(
        accelerator=run.device.type,
        devices=1,
        precision="bf16-mixed" if run.precision == "bf16" else "32-true",
        max_epochs=run.recipe.train.epochs,
        logger=TensorBoardLogger(run.folder, name="logs", version=""),
        callbacks=[*callbacks, LastCheckpoint(run.checkpoint)],
        plugins=[WholeCheckpointIO(past.checkpoint), LightningEnvironment()],
        limit_val_batches=0,
        num_sanity_val_steps=0,
        log_every_n_steps=LOG_EVERY_N_STEPS,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.folder,
    )


def _extras(recipe: TrainRecipe) -> list[Callback]:
    """Lightning's own callbacks that a recipe asks for."""
    from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging

    average = [EMAWeightAveraging(decay=recipe.ema)] if recipe.ema else []
    stop = EarlyStopping("validation/loss", patience=recipe.patience, check_on_train_epoch_end=True)
    return [*average, *([stop] if recipe.patience else [])]


def _run_trainer(trainer: Trainer, module: TrainingModule, run: _Run, past: _Past) -> None:
    """Fit; what a malformed checkpoint breaks inside Lightning, before the first step, is told as what it is."""
    path = run.checkpoint if past.checkpoint else None
    try:
        trainer.fit(module, train_dataloaders=module.batches, ckpt_path=path, weights_only=True)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if path is None or module.started:
            raise
        raise FormatError("not a whole checkpoint", where=path, got=error, remedy=REMEDY) from error
