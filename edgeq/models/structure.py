"""What a network has instead of its factory's layers: replaced modules by path, written beside the weights as JSON.

A method that takes channels out or puts several layers in the place of one changes the module tree. The weights alone
do not say how, so :func:`replace` notes it in the network and the file of its weights carries the note.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from edgeq.errors import FormatError
from edgeq.models.layers import Repeat
from edgeq.rounding.activations import Levels, SignAboutMean, put_before

__all__ = ["LAYERS", "can_be_noted", "module_at", "note", "rebuild", "replace", "structure_of", "structure_to_json"]

_NOTE = "_edgeq_structure"
_MAX_PARTS = 16
_MAX_SIDE = 1 << 16
_MAX_REPEATS = 64

Spec = dict[str, Any]


def _pair(value: Any) -> list[int]:
    return [int(item) for item in value]


def _conv(layer: nn.Conv2d) -> Spec:
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        raise ValueError(f"padding {layer.padding!r}, {layer.padding_mode!r}")
    return {
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "kernel_size": _pair(layer.kernel_size),
        "stride": _pair(layer.stride),
        "padding": _pair(layer.padding),
        "dilation": _pair(layer.dilation),
        "groups": layer.groups,
        "bias": layer.bias is not None,
    }


def _conv_transpose(layer: nn.ConvTranspose2d) -> Spec:
    return {**_conv(layer), "output_padding": _pair(layer.output_padding)}  # type: ignore[arg-type]


def _linear(layer: nn.Linear) -> Spec:
    return {"in_features": layer.in_features, "out_features": layer.out_features, "bias": layer.bias is not None}


def _batch_norm(layer: nn.BatchNorm2d) -> Spec:
    return {"num_features": layer.num_features, "eps": layer.eps, "affine": layer.affine}


def _sign(layer: SignAboutMean) -> Spec:
    return {"channels": layer.channels, "images": layer.images, "scales": layer.scales}


# By the name in a note: the class and what its constructor takes. Nothing else can come out of a file.
LAYERS: dict[str, tuple[type[nn.Module], Callable[[Any], Spec]]] = {
    "Conv2d": (nn.Conv2d, _conv),
    "ConvTranspose2d": (nn.ConvTranspose2d, _conv_transpose),
    "Linear": (nn.Linear, _linear),
    "BatchNorm2d": (nn.BatchNorm2d, _batch_norm),
    "BatchNorm1d": (nn.BatchNorm1d, _batch_norm),
    "ReLU": (nn.ReLU, lambda layer: {}),
    "Identity": (nn.Identity, lambda layer: {}),
    "Repeat": (Repeat, lambda layer: {"times": layer.times}),
    "SignAboutMean": (SignAboutMean, _sign),
    "Levels": (Levels, lambda layer: {"bits": layer.bits}),
}
BEFORE_A_LAYER = (SignAboutMean, Levels)


def replace(model: nn.Module, path: str, layers: Sequence[nn.Module]) -> None:
    """Put layers in the place of a module, several as an ``nn.Sequential``, and note it.

    Args:
        model: the network.
        path: of the module, as in ``model.named_modules()``; not the network itself.
        layers: of the kinds of :data:`LAYERS`.

    Raises:
        ValueError: a layer of another kind, or one that cannot be described.
    """
    spec = [_spec(layer) for layer in layers]
    _put(model, path, layers)
    _notes(model)[path] = spec


def note(model: nn.Module, path: str) -> None:
    """Note a layer as it is now, after something has changed its sizes in place.

    A layer inside what :func:`replace` put in place is noted there.

    Raises:
        ValueError: the layer is not of the kinds of :data:`LAYERS`.
    """
    notes = _notes(model)
    parent, _, index = path.rpartition(".")
    spec = _spec(module_at(model, path))
    if parent in notes and len(notes[parent]) > 1:
        notes[parent][int(index)] = spec
    else:
        notes[path] = [spec]


def can_be_noted(layer: nn.Module) -> bool:
    """The layer is of the kinds of :data:`LAYERS` and can be described."""
    try:
        _spec(layer)
    except ValueError:
        return False
    return True


def structure_of(model: nn.Module) -> dict[str, list[Spec]]:
    """What was noted, by path; empty for a network as its factory made it."""
    return dict(getattr(model, _NOTE, {}))


def structure_to_json(model: nn.Module) -> str:
    """The note as one line; empty where there is none."""
    found = structure_of(model)
    return json.dumps(found, separators=(",", ":"), sort_keys=True) if found else ""


def rebuild(model: nn.Module, text: str, shapes: Mapping[str, Sequence[int]], where: object) -> None:
    """Change a network to a note that was read from a file; its new weights are not set.

    Args:
        model: as its factory made it.
        text: the note.
        shapes: of the tensors that the file has, by name: no layer is made that is larger than its tensor there.
        where: the file, for messages.

    Raises:
        FormatError: the note does not fit the network or the tensors.
    """
    try:
        table = json.loads(text)
        if not isinstance(table, dict):
            raise TypeError("no table")
        for path, specs in table.items():
            if not 1 <= len(specs) <= _MAX_PARTS or not path:
                raise ValueError(f"{len(specs)} layers at {path!r}")
            names = [path] if len(specs) == 1 else [f"{path}.{index}" for index in range(len(specs))]
            again = [len(specs) > 1 and name in table for name in names]  # has been replaced in its turn
            layers = [
                nn.Identity() if replaced else _layer(spec, shapes, name)
                for spec, name, replaced in zip(specs, names, again, strict=True)
            ]
            replace(model, path, layers)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise FormatError("the note of the network's structure does not fit", where=where, got=error) from error


def module_at(model: nn.Module, path: str) -> nn.Module:
    """A module by path.

    Raises:
        AttributeError: there is none.
    """
    return model.get_submodule(path)


def _notes(model: nn.Module) -> dict[str, list[Spec]]:
    if not hasattr(model, _NOTE):
        object.__setattr__(model, _NOTE, {})
    found: dict[str, list[Spec]] = getattr(model, _NOTE)
    return found


def _put(model: nn.Module, path: str, layers: Sequence[nn.Module]) -> None:
    parent, _, name = path.rpartition(".")
    owner = module_at(model, parent)
    if isinstance(layers[0], BEFORE_A_LAYER):
        put_before(owner, layers[0])
        return
    old = module_at(model, path)
    new = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    new.train(old.training)
    owner._modules[name] = new


def _spec(layer: nn.Module) -> Spec:
    for name, (kind, describe) in LAYERS.items():
        if type(layer) is kind:
            return {"type": name, **describe(layer)}
    raise ValueError(f"a layer of type {type(layer).__name__}")


def _layer(spec: Any, shapes: Mapping[str, Sequence[int]], path: str) -> nn.Module:
    """A layer of a note; its sizes must be those of its tensor in the file before memory is taken for it."""
    given = dict(spec)
    kind = LAYERS[given.pop("type")][0]
    numbers = [part for value in given.values() for part in (value if isinstance(value, list) else [value])]
    if any(not isinstance(part, int | float) or not 0 <= part <= _MAX_SIDE for part in numbers):
        raise ValueError(f"sizes {given} at {path}")
    if kind in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear):
        ends = ("out_features", "in_features") if kind is nn.Linear else ("out_channels", "in_channels")
        out, into = given[ends[0]], given[ends[1]]
        size = out * (into // given.get("groups", 1)) * math.prod(given.get("kernel_size", [1]))
        reach = zip(given.get("padding", []), given.get("kernel_size", []), given.get("dilation", []), strict=True)
        if any(padding > dilation * (kernel - 1) for padding, kernel, dilation in reach):
            raise ValueError(f"padding wider than the kernel at {path}")
        if math.prod(shapes[f"{path}.weight"]) != size:
            raise ValueError(f"{path}.weight has another size than its layer")
    elif kind is Repeat and not 1 <= given["times"] <= _MAX_REPEATS:
        raise ValueError(f"{given['times']} repeats at {path}")
    elif kind is SignAboutMean and math.prod(shapes[f"{path}.norm.running_mean"]) != given["channels"]:
        raise ValueError(f"{path}.norm.running_mean has another size than its layer")
    elif "num_features" in given and math.prod(shapes[f"{path}.running_mean"]) != given["num_features"]:
        raise ValueError(f"{path}.running_mean has another size than its layer")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
