"""The checkpoint that training goes on from: written whole or not at all, read without running code from it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.data import ImageData
from edgeq.errors import FormatError, ModelError, RecipeError
from edgeq.recipe import Recipe
from edgeq.strict_toml import toml_value
from edgeq.train.result import EpochLog

__all__ = [
    "ACTIVATION_RANGES",
    "EDGEQ_KEY",
    "REMEDY",
    "activation_ranges_of",
    "check_fingerprint",
    "fingerprint",
    "held_scales_of",
    "history_of",
    "plain_scales",
    "read_checkpoint",
    "stopped_early",
    "weights_of",
    "write_checkpoint",
]

EDGEQ_KEY: Final = "edgeq"
ACTIVATION_RANGES: Final = "activation_ranges"
SCHEMA: Final = 1
PREFIX: Final = "model."  # of the network inside the LightningModule
REMEDY: Final = "delete it, or train without --resume"
KEYS: Final = (
    EDGEQ_KEY,
    "state_dict",
    "optimizer_states",
    "lr_schedulers",
    "loops",
    "callbacks",
    "epoch",
    "global_step",
)


def fingerprint(recipe: Recipe, data: ImageData) -> dict[str, Any]:
    """What the trained weights depend on, flat, by recipe key; the data by content, for a folder may move.

    The device is left out: a training may go on elsewhere, though not bit for bit.
    """
    return _flat(recipe) | {"data.mirrors": data.mirrors, "data.sha256": data.sha256}


def _flat(recipe: Recipe) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "schema": SCHEMA,
        "model": recipe.model,
        "task": recipe.task,
        "bits": recipe.bits,
        "seed": recipe.seed,
    }
    flat |= {"method": recipe.method, "quantize.mode": recipe.quantize.mode, "layers": toml_value(recipe.layers)}
    for part in ("train", "regularizer", "rounding"):
        flat |= {f"{part}.{key}": value for key, value in dataclasses.asdict(getattr(recipe, part)).items()}
    del flat["train.device"]
    return flat


def check_fingerprint(checkpoint: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise unless a checkpoint was made with the same recipe and data.

    Raises:
        RecipeError: it was not; the message names the first key that differs.
    """
    found = checkpoint[EDGEQ_KEY].get("fingerprint")
    found = found if isinstance(found, dict) else {}
    found = _flat(Recipe()) | found if found else {}  # a key that is newer than the checkpoint had its default
    for key, value in wanted.items():
        if key not in found or found[key] != value:
            raise RecipeError(
                f"the checkpoint was made with another {key}",
                where=path,
                got=repr(value),
                wanted=repr(found.get(key)),
                remedy="use the same value, or train anew without --resume",
            )


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint whole: beside its place, then renamed over the one before it.

    Lightning's own writer goes through the system's temporary folder and, where that is another file system, copies.

    Raises:
        ModelError: it cannot be written; the checkpoint before it is still whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(dict(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ModelError("the checkpoint cannot be written", where=path, got=error.strerror or error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as tensors and plain values; nothing in it is run.

    Raises:
        RecipeError: there is none.
        FormatError: it is no whole checkpoint of edgeq's.
    """
    if not path.is_file():
        raise RecipeError("no checkpoint to go on from", where=path, remedy="train without --resume")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise FormatError("holds more than tensors and plain values", where=path, remedy=REMEDY) from error
    except (
        Exception
    ) as error:  # the unpickler lets through what damaged bytes provoke: EOFError, KeyError, struct.error
        raise FormatError("not a whole checkpoint", where=path, got=type(error).__name__, remedy=REMEDY) from error
    missing = [key for key in KEYS if key not in loaded] if isinstance(loaded, dict) else list(KEYS)
    if missing or not isinstance(loaded[EDGEQ_KEY], dict) or not isinstance(loaded["state_dict"], dict):
        raise FormatError("not a checkpoint of edgeq train", where=path, wanted=", ".join(KEYS), remedy=REMEDY)
    history_of(loaded, path)
    return {str(key): value for key, value in loaded.items()}


def history_of(checkpoint: Mapping[str, Any], path: Path) -> list[EpochLog]:
    """The epochs a checkpoint has behind it.

    Raises:
        FormatError: they are not what training writes.
    """
    try:
        history = [EpochLog(**entry) for entry in checkpoint[EDGEQ_KEY]["history"]]
    except (TypeError, KeyError) as error:
        raise FormatError("the checkpoint has no readable history", where=path, remedy=REMEDY) from error
    plain = all(isinstance(value, int | float | None) for log in history for value in dataclasses.astuple(log))
    if not plain or [log.epoch for log in history] != list(range(len(history))):
        raise FormatError("the checkpoint has no readable history", where=path, remedy=REMEDY)
    return history


def held_scales_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, NDArray[np.float32]]:
    """The scales that the training behind a checkpoint held, by layer.

    Raises:
        FormatError: they are not what training writes.
    """
    try:
        (state,) = (state for state in checkpoint["callbacks"].values() if "held_scales" in state)
        return plain_scales(state["held_scales"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError("the checkpoint has no readable scales", where=path, remedy=REMEDY) from error


def stopped_early(checkpoint: Mapping[str, Any]) -> bool:
    """Whether the training behind a checkpoint ended before its last epoch by itself."""
    callbacks = checkpoint.get("callbacks")
    states = callbacks.values() if isinstance(callbacks, dict) else ()
    return any(isinstance(state, dict) and bool(state.get("stopping_reason")) for state in states)


def activation_ranges_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, list[float]]:
    """The ranges that the training behind a checkpoint rounded activations over, by name.

    Raises:
        FormatError: they are not what training writes.
    """
    try:
        (state,) = (state for state in checkpoint["callbacks"].values() if ACTIVATION_RANGES in state)
        return {str(name): [float(low), float(high)] for name, (low, high) in state[ACTIVATION_RANGES].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError("the checkpoint has no readable ranges", where=path, remedy=REMEDY) from error


def plain_scales(scales: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    """Held scales as numpy, float32 [1] or [O], by layer of the network itself, without Lightning's prefix."""
    return {
        layer.removeprefix(PREFIX): scale.detach().cpu().to(torch.float32).reshape(-1).numpy().copy()
        for layer, scale in scales.items()
    }


def weights_of(checkpoint: Mapping[str, Any], model: torch.nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """The network's state in a checkpoint, without Lightning's prefix, checked against the network.

    Raises:
        ModelError: it belongs to another network; the message names the first entry that differs.
    """
    state = {key.removeprefix(PREFIX): value for key, value in checkpoint["state_dict"].items()}
    for key, got, wanted in _differences(state, model.state_dict()):
        raise ModelError(
            "the checkpoint is of another network", where=path, got=f"{key} {got}", wanted=wanted, remedy=REMEDY
        )
    return state


def _differences(state: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in [*model, *(key for key in state if key not in model)]:
        got, wanted = _form(state.get(key)), _form(model.get(key))
        if got != wanted:
            yield key, got, wanted


def _form(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return "nothing" if value is None else type(value).__name__
