"""What edgeq changes about Lightning: whole checkpoints, no chatter, interrupts that interrupt, flags put back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from edgeq.compress.method import Constraint
from edgeq.train.checkpoint import write_checkpoint

__all__ = ["KeepConstraints", "LastCheckpoint", "WholeCheckpointIO", "deterministic", "interrupts", "quiet"]

QUIET_LOGGERS: Final = ("lightning.pytorch", "lightning.fabric")


class WholeCheckpointIO(CheckpointIO):
    """Writes a checkpoint in one rename; hands Lightning the one that was read and checked before."""

    def __init__(self, loaded: Mapping[str, Any] | None = None) -> None:
        self._loaded = loaded

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        assert self._loaded is not None
        return dict(self._loaded)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class KeepConstraints(Callback):
    """Puts the weights back to what compression methods ask for, after each step; before the periodic term moves them.

    Callbacks run in the order of their list: this one stands first.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        super().__init__()
        self._constraints = tuple(constraints)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for constraint in self._constraints:
            constraint.project()


class LastCheckpoint(Checkpoint):
    """Saves the training at the end of each epoch, after the history has the epoch.

    Lightning's ModelCheckpoint would put absolute paths into the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self._path)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's banners, tips and advice off the terminal; errors and all other warnings pass."""
    loggers = [logging.getLogger(name) for name in QUIET_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\.(pytorch|fabric)\.")
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels where torch has them, and the global state put back: flags, generators, environment."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark = False
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@contextmanager
def interrupts() -> Iterator[None]:
    """Let Ctrl-C leave as KeyboardInterrupt: Lightning makes it ``sys.exit(1)`` and goes on ignoring the signal.

    A handler of SIGTERM that raises one is let through, too, and put back: Lightning calls it after its own.
    """
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise
    finally:
        if main:
            for number, handler in handlers.items():
                signal.signal(number, handler)
