"""A network's weights in ``.safetensors`` files, read strictly and written with the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from edgeq.errors import FormatError, ModelError
from edgeq.file_kind import FileKind, kind_of
from edgeq.models.fold import computed_weights, fold_weights
from edgeq.models.structure import rebuild, structure_to_json

__all__ = ["few", "load_weights", "save_weights"]

STRUCTURE = "structure"  # the one key of the header: safetensors writes several in an order that changes

TO_SAFETENSORS: Final = "write the state dict with safetensors.torch.save_file"
OTHERS: Final[dict[FileKind, tuple[str, str]]] = {
    "edgeqpack": ("a package of edgeq pack", "start from the checkpoint.safetensors of its build, and pack last"),
    "tflite": ("a .tflite file", "start from the checkpoint.safetensors of its build"),
    "zip": ("a zip file, as of torch.save", TO_SAFETENSORS),
    "pickle": ("a pickle, as of torch.save", TO_SAFETENSORS),
}
"""What else is given for weights: what it is, and what to do."""


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers, and the note of its structure; equal networks give equal bytes.

    Args:
        model: its state dict may hold tensors only.
        path: the file, replaced where it exists.

    Raises:
        ModelError: the file cannot be written, or the state holds something else than tensors.
    """
    state, structure = model.state_dict(), structure_to_json(model)
    header = {STRUCTURE: structure} if structure else None
    if odd := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise ModelError("the state is not of tensors only", where=path, got=few(odd))
    try:  # a clone each: safetensors refuses tensors that share memory, as tied weights do
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, path, header)
    except (OSError, SafetensorError) as error:
        raise ModelError("the weights cannot be written", where=path, got=error) from error


def load_weights(model: nn.Module, path: Path, *, new_head: int = 0) -> list[str]:
    """Fill a network from a file; all is checked before the first weight changes.

    Where the file notes another structure than the factory's, channels taken out or layers replaced, it is made so;
    weights that are computed from other parameters are folded where the file has plain ones.

    Args:
        model: the network that the weights are for, as its factory made it.
        path: a file whose names, shapes and kinds of numbers are the network's own; floats may differ in width.
        new_head: the network's number of classes, if tensors may keep their values that are so long in their first
            dimension, and in the file of another length there; 0 for none.

    Returns:
        The names of the tensors that keep their values.

    Raises:
        FormatError: unreadable, no safetensors file, truncated, or with a structure that does not fit.
        ModelError: a name is missing or unknown, a shape or kind of number differs, or a value is NaN or infinite.
    """
    try:
        with safe_open(path, "pt") as file:
            structure = (file.metadata() or {}).get(STRUCTURE, "")
            loaded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror or error) from error
    except Exception as error:  # SafetensorError, and what its header parser lets through: ValueError, KeyError
        raise _no_weights(path, error) from error
    if structure:
        rebuild(model, structure, {name: value.shape for name, value in loaded.items()}, path)
    if any(f"{name}.weight" in loaded for name in computed_weights(model)):
        fold_weights(model)
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    if missing := sorted(state.keys() - loaded.keys()):
        raise ModelError(f"{len(missing)} tensors of the network are missing", where=path, got=f"no {few(missing)}")
    if unknown := sorted(loaded.keys() - state.keys()):
        raise ModelError(f"{len(unknown)} tensors are not the network's", where=path, got=few(unknown))
    kept = [name for name, value in state.items() if new_head and _is_head(value, loaded[name], new_head)]
    for name in kept:
        loaded[name] = state[name]
    for name, value in state.items():
        if value.shape != loaded[name].shape:
            got, wanted = list(loaded[name].shape), list(value.shape)
            raise ModelError(f"{name} has another shape", where=path, got=got, wanted=wanted)
        if value.is_floating_point() != loaded[name].is_floating_point():
            raise ModelError(f"{name} is of another type", where=path, got=loaded[name].dtype, wanted=value.dtype)
    if bad := [name for name, value in loaded.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ModelError("weights are NaN or infinite", where=path, got=few(sorted(bad)), wanted="finite numbers")
    model.load_state_dict(loaded)
    return kept


def _no_weights(path: Path, error: Exception) -> FormatError:
    """Says what a file is instead, where its first bytes tell."""
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(8)
    kind = kind_of(start)
    if kind not in OTHERS:
        return FormatError("is no whole safetensors file", where=path, got=error)
    name, remedy = OTHERS[kind]
    return FormatError("is no safetensors file", where=path, got=name, remedy=remedy)


def _is_head(wanted: torch.Tensor, found: torch.Tensor, classes: int) -> bool:
    """Whether two tensors are of heads for other numbers of classes."""
    same = wanted.dim() == found.dim() > 0 and wanted.shape[1:] == found.shape[1:]
    return same and wanted.shape[0] == classes != found.shape[0]


def few(names: Iterable[str]) -> str:
    """The first few of many names."""
    listed = list(names)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
