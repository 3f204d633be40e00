"""The snap: the one rounding of trained weights to their grid, and the file that keeps the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ExportError, FormatError, ModelError, RecipeError
from edgeq.grid import Function, Grid, QuantizedWeight, quantize_weight

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_grid", "load_ranges", "put_codes", "quantized_layers", "require_exported", "save_grid", "snap"]


SHOWN = 3  # names in a message
RANGE = ".range"
HEADER = "grid"  # one key for both facts: safetensors writes several in an order that changes from run to run


def quantized_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose weights go on the grid: every Conv2d and Linear, first and last included, by module path.

    Of layers that share one weight the first stands for all.

    Raises:
        ExportError: there is none, or one computes its weight from other parameters, so that it cannot be set.
    """
    from torch import nn as layers

    found: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, layers.Conv2d | layers.Linear):
            continue
        if module._parameters.get("weight") is None:
            raise ExportError(
                "the weight is computed from other parameters",
                where=f"layer {name}",
                remedy="remove the parametrization (weight norm, pruning) first",
            )
        found.setdefault(id(module.weight), (name, module))
    if not found:
        raise ExportError("the network has no Conv2d or Linear layer", where=type(model).__name__)
    return dict(found.values())


def require_exported(layers: Iterable[str], initializers: Container[str]) -> None:
    """Raise for a layer whose weight did not come out of the ONNX export under its own name.

    Raises:
        ExportError: the layer takes no part in the forward pass, or torch stores its weight in another form.
    """
    for name in layers:
        if f"{name}.weight" not in initializers:
            raise ExportError(
                "the layer's weight is not in the ONNX export, so its integers could not be kept",
                where=f"layer {name}",
                remedy="take the layer out if nothing uses it; give a Linear layer [N, features]",
            )


def snap(
    model: nn.Module,
    grid: Grid,
    *,
    per_channel: bool = False,
    scales: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),  # cannot be changed
    grid_of: Callable[[str], Grid | None] | None = None,
) -> dict[str, QuantizedWeight]:
    """Round the weights of every Conv2d and Linear to the grid, in place.

    Args:
        model: float32, on the CPU; afterwards each weight is ``codes * step``.
        grid: bits and function.
        per_channel: one step an output channel instead of one a tensor.
        scales: by layer name, the c that a training held, float32 [1] or [O]; ``max|w|`` for the others.
        grid_of: by layer name, its grid instead, or None where its weights stay float.

    Returns:
        The codes and steps by layer name.

    Raises:
        ExportError: there is no such layer, or a weight is NaN or infinite; names the layer.
        ModelError: ``scales`` has a name that no layer of the network has.
    """
    import torch

    layers = quantized_layers(model)
    if unknown := sorted(scales.keys() - layers.keys()):
        raise ModelError(
            "scales of layers that the network has not",
            got=", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""),
            wanted=f"names such as {next(iter(layers))}",
            remedy="a training wrapper may have put its own name before them",
        )
    table: dict[str, QuantizedWeight] = {}
    for name, module in layers.items():
        chosen = grid if grid_of is None else grid_of(name)
        if chosen is None:
            continue
        weight: Any = module.weight
        values = weight.detach().to(torch.float32).cpu().contiguous().numpy()
        scale = scales.get(name)
        rows = per_channel if scale is None else scale.size > 1
        table[name] = quantize_weight(values, chosen, per_channel=rows, name=f"layer {name}", scale=scale)
    with torch.no_grad():
        for name, codes in table.items():
            destination: Any = layers[name].weight
            destination.copy_(torch.from_numpy(codes.values))
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


def save_grid(
    table: Mapping[str, QuantizedWeight], path: str | Path, *, ranges: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Write ``L.codes`` int8 and ``L.step`` float32 for each layer L; bits and function go into the header, with the
    bits of layers that have others than the first.

    Args:
        table: codes and steps by layer name, as :func:`snap` returns them.
        path: the file, ``grid.safetensors`` by custom.
        ranges: of activations, by name, that the network was trained with: ``A.range`` float64 [2] of each.

    Raises:
        FormatError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {}
    for name, weight in table.items():
        tensors[f"{name}.codes"], tensors[f"{name}.step"] = weight.codes, weight.step
    for name, ends in (ranges or {}).items():
        tensors[f"{name}{RANGE}"] = np.array(ends, np.float64)
    grid = next(iter(table.values())).grid if table else Grid()
    others = {name: _other(weight.grid, grid) for name, weight in table.items() if weight.grid != grid}
    header = f"{grid.bits} bits {grid.function}" + (f" {json.dumps(others)}" if others else "")
    try:
        save_file(tensors, path, metadata={HEADER: header})
    except (OSError, SafetensorError) as error:
        raise FormatError("cannot be written", where=path, got=error) from error


def load_ranges(path: str | Path) -> dict[str, tuple[float, float]]:
    """The ranges of activations in a ``grid.safetensors``; none where the training left activations in float.

    Raises:
        FormatError: it cannot be read, is no safetensors file, or a range is none.
    """
    _, tensors = _read(path)
    ranges = {}
    for key, value in tensors.items():
        if not key.endswith(RANGE):
            continue
        if value.dtype != np.float64 or value.shape != (2,) or not np.isfinite(value).all() or value[0] > value[1]:
            raise FormatError(
                "an activation's range is not one", where=f"{path}: {key}", got=value.ravel()[:2].tolist()
            )
        ranges[key.removesuffix(RANGE)] = (float(value[0]), float(value[1]))
    return ranges


def load_grid(path: str | Path) -> dict[str, QuantizedWeight]:
    """Read a ``grid.safetensors``.

    Args:
        path: the file.

    Returns:
        Codes and steps by layer name.

    Raises:
        FormatError: it cannot be read, is no safetensors file, or its tensors are not codes and steps.
    """
    header, tensors = _read(path)
    try:
        first, _, others = header.get(HEADER, "8 bits sine").partition(" {")
        bits, function = first.split(" bits ")
        grid = Grid(int(bits), cast(Function, function))
        table = json.loads("{" + others) if others else {}
        grids = {str(name): _read_other(given, grid) for name, given in table.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, RecipeError) as error:
        raise FormatError("has a bad header", where=path, got=header) from error
    names = [name.removesuffix(".codes") for name in tensors if name.endswith(".codes")]
    if not names and (tensors or HEADER not in header):
        raise FormatError("has no layer", where=path, wanted="L.codes and L.step for each layer L")
    return {name: _checked_layer(tensors, name, grids.get(name, grid), path) for name in names}


def _other(grid: Grid, first: Grid) -> int | str:
    """A layer's grid in the header: its bits, and its function where that is another than the first's."""
    return grid.bits if grid.function == first.function else f"{grid.bits} bits {grid.function}"


def _read_other(given: Any, first: Grid) -> Grid:
    if not isinstance(given, str):
        return Grid(int(given), first.function)
    bits, function = given.split(" bits ")
    return Grid(int(bits), cast(Function, function))


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Header and tensors."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror or error) from error
    except Exception as error:
        raise FormatError("is no whole safetensors file", where=path, got=error) from error


def _checked_layer(tensors: Mapping[str, Any], name: str, grid: Grid, path: str | Path) -> QuantizedWeight:
    codes, step = tensors[f"{name}.codes"], tensors.get(f"{name}.step")
    where = f"{path}: {name}"
    if step is None or codes.dtype != np.int8 or step.dtype != np.float32 or codes.ndim < 2:
        raise FormatError("a layer has no int8 codes with a float32 step", where=where)
    if step.shape not in ((1,), codes.shape[:1]):
        raise FormatError(
            "a step does not fit its codes", where=where, got=step.shape, wanted=f"(1,) or {codes.shape[:1]}"
        )
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise FormatError("a step is not positive and finite", where=where)
    if codes.size and int(np.abs(codes.astype(np.int16)).max()) > grid.qmax:
        raise FormatError("a code lies outside the grid", where=where, wanted=f"-{grid.qmax} to {grid.qmax}")
    return QuantizedWeight(codes, step, grid, 0.0)
