"""The snap: the one rounding of trained weights to their grid, and the file that keeps the result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.errors import ExportError, FormatError, ModelError
from edgeq.grid import Grid, QuantizedWeight, quantize_weight

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_grid", "put_codes", "quantized_layers", "save_grid", "snap"]


def quantized_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights go on the grid: every Conv2d and Linear, first and last included, by module path."""
    from torch import nn as layers

    kinds = (layers.Conv2d, layers.Linear)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def snap(model: nn.Module, grid: Grid, *, per_channel: bool = False) -> dict[str, QuantizedWeight]:
    """Round the weights of every Conv2d and Linear to the grid, in place.

    Args:
        model: float32, on the CPU; afterwards each weight is ``codes * step``.
        grid: bits and function.
        per_channel: one step an output channel instead of one a tensor.

    Returns:
        The codes and steps by layer name.

    Raises:
        ExportError: there is no such layer, or a weight is NaN or infinite; names the layer.
    """
    import torch

    layers = quantized_layers(model)
    if not layers:
        raise ExportError("the network has no Conv2d or Linear layer", where=type(model).__name__)
    table: dict[str, QuantizedWeight] = {}
    for name, module in layers.items():
        weight: Any = module.weight
        values = weight.detach().to(torch.float32).cpu().contiguous().numpy()
        table[name] = quantize_weight(values, grid, per_channel=per_channel, name=f"layer {name}")
    with torch.no_grad():
        for name, module in layers.items():
            destination: Any = module.weight
            destination.copy_(torch.from_numpy(table[name].values))
    return table


def put_codes(model: nn.Module, table: Mapping[str, QuantizedWeight]) -> None:
    """Set the weights of a network to the codes of an earlier snap.

    Raises:
        ModelError: the table has a layer that the network lacks or has in another shape.
    """
    import torch

    layers = quantized_layers(model)
    with torch.no_grad():
        for name, weight in table.items():
            module: Any = layers.get(name)
            got = None if module is None else tuple(module.weight.shape)
            if got != weight.codes.shape:
                raise ModelError(
                    "the grid is another network's", where=f"layer {name}", got=got, wanted=weight.codes.shape
                )
            module.weight.copy_(torch.from_numpy(weight.values))


def save_grid(table: Mapping[str, QuantizedWeight], path: Path) -> None:
    """Write ``L.codes`` int8 and ``L.step`` float32 for each layer L; bits and function go into the header."""
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {}
    for name, weight in table.items():
        tensors[f"{name}.codes"], tensors[f"{name}.step"] = weight.codes, weight.step
    grid = next(iter(table.values())).grid if table else Grid()
    save_file(tensors, path, metadata={"bits": str(grid.bits), "function": grid.function})


def load_grid(path: Path) -> dict[str, QuantizedWeight]:
    """Read a ``grid.safetensors``.

    Raises:
        FormatError: it cannot be read, is no safetensors file, or its tensors are not codes and steps.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror or error) from error
    except Exception as error:
        raise FormatError("is no whole safetensors file", where=path, got=error) from error
    try:
        grid = Grid(int(header.get("bits", "8")), header.get("function", "sine"))
    except ValueError as error:
        raise FormatError("has a bad header", where=path, got=header) from error
    table: dict[str, QuantizedWeight] = {}
    for name in (name.removesuffix(".codes") for name in tensors if name.endswith(".codes")):
        codes, step = tensors[f"{name}.codes"], tensors.get(f"{name}.step")
        sizes = (1, codes.shape[0] if codes.ndim else 1)
        if (
            step is None
            or codes.dtype != np.int8
            or step.dtype != np.float32
            or step.shape not in {(n,) for n in sizes}
        ):
            raise FormatError("a layer has no int8 codes with a float32 step", where=f"{path}: {name}")
        if not (np.isfinite(step).all() and (step > 0).all()):
            raise FormatError("a step is not positive and finite", where=f"{path}: {name}")
        table[name] = QuantizedWeight(codes, step, grid, 0.0)
    return table
