"""What a file computes in: a mode for the whole network, other modes or bits for single layers. No ONNX, no files."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edgeq.errors import RecipeError
from edgeq.grid import Grid

__all__ = ["MODES", "LayerChoice", "Mode", "Plan", "check_ends", "plan_from_options", "require_matches"]

Activations = Literal["int8", "int16", "float32"]
PACKED_QMAX = 7


@dataclass(frozen=True, slots=True)
class Mode:
    """What weights are stored in and activations computed in.

    Attributes:
        name: as ``--mode`` has it.
        weights: ``int8`` (codes of a grid), ``float16`` or ``float32``.
        activations: ``int8``, ``int16`` or ``float32``. Beside integer weights float32 means that the kernel quantizes
            each input as it comes (dynamic range).
        ends: the types that the file's inputs and outputs can have, the default first.
    """

    name: str
    weights: Literal["int8", "float16", "float32"]
    activations: Activations
    ends: tuple[str, ...]

    @property
    def bias(self) -> str:
        """What the bias is added in: at input scale x weight scale, or as a float."""
        return {"int8": "int32", "int16": "int64", "float32": "float32"}[self.activations]


MODES = {
    mode.name: mode
    for mode in (
        Mode("int8", "int8", "int8", ("int8", "uint8", "float32")),
        Mode("int16", "int8", "int16", ("float32", "int16")),
        Mode("dynamic", "int8", "float32", ("float32",)),
        Mode("float16", "float16", "float32", ("float32",)),
        Mode("float32", "float32", "float32", ("float32",)),
    )
}


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """What a layer has instead of the network's.

    Attributes:
        mode: a name of :data:`MODES`, or None for the network's.
        bits: of its weights, or None for the network's.
    """

    mode: str | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.mode is not None:
            mode_named(self.mode, "layers")


@dataclass(frozen=True, slots=True)
class Plan:
    """Modes and bits of a network's layers.

    Attributes:
        mode: of what no pattern names.
        grid: bits and function of the weights that no pattern names.
        layers: choices by pattern over layer names (``*``, ``?``, ``[...]``); of several that match, the last wins.
        packed: whether codes of 4 bits or fewer are stored two a byte where a kernel takes them so.
    """

    mode: Mode = MODES["int8"]
    grid: Grid = field(default_factory=Grid)
    layers: Mapping[str, LayerChoice] = field(default_factory=dict)
    packed: bool = False

    def __post_init__(self) -> None:
        for pattern, choice in self.layers.items():
            if choice.bits is not None:
                self._grid(choice.bits)
            mode = self.mode if choice.mode is None else MODES[choice.mode]
            if choice.bits is not None and mode.weights != "int8":
                raise RecipeError(f"weights in {mode.weights} have no bits to choose", where=f"layers.{pattern}",
                                  got=f"bits = {choice.bits}", remedy="leave bits out, or choose int8")  # fmt: skip

    def mode_of(self, layer: str) -> Mode:
        choice = self._choice(layer, "mode")
        return self.mode if choice is None else MODES[choice]

    def grid_of(self, layer: str) -> Grid | None:
        """The grid of a layer's weights; None where they stay float."""
        if self.mode_of(layer).weights != "int8":
            return None
        bits = self._choice(layer, "bits")
        return self.grid if bits is None else self._grid(bits)

    def has_bits(self, layer: str) -> bool:
        """Whether a pattern gives a layer bits of its own."""
        return self._choice(layer, "bits") is not None

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse a pattern that names no layer.

        Raises:
            RecipeError: with the nearest name.
        """
        require_matches(self.layers, names, "layers")

    @property
    def packs(self) -> bool:
        """Whether there can be codes of 4 bits or fewer."""
        grids = [self.grid] if self.mode.weights == "int8" else []
        for choice in self.layers.values():
            mode = self.mode if choice.mode is None else MODES[choice.mode]
            if mode.weights == "int8":
                grids.append(self.grid if choice.bits is None else self._grid(choice.bits))
        return any(grid.qmax <= PACKED_QMAX for grid in grids)

    @property
    def uses(self) -> frozenset[Activations]:
        """The types of activations that there are."""
        chosen = {MODES[choice.mode].activations for choice in self.layers.values() if choice.mode is not None}
        return frozenset(chosen | {self.mode.activations})

    def _choice(self, layer: str, what: str) -> Any:
        found = None
        for pattern, choice in self.layers.items():
            value = getattr(choice, what)
            if value is not None and fnmatch.fnmatchcase(layer, pattern):
                found = value
        return found

    def _grid(self, bits: int) -> Grid:
        """The grid of so many bits; beside a cosine grid the sine's where the cosine's codes would not fit int8."""
        if self.grid.function == "cosine" and bits == 8:
            return Grid(bits)
        return dataclasses.replace(self.grid, bits=bits)


def require_matches(patterns: Iterable[str], names: Iterable[str], where: str) -> None:
    """Refuse a pattern that names no layer.

    Raises:
        RecipeError: with the nearest name.
    """
    known = list(dict.fromkeys(names))
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in known):
            near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.3)
            remedy = f"did you mean {near[0]}?" if near else f"layers are {', '.join(known[:8])}"
            raise RecipeError("no layer has this name", where=where, got=pattern, remedy=remedy)


def mode_named(name: str, where: str) -> Mode:
    """A mode by name.

    Raises:
        RecipeError: there is no such mode.
    """
    if name not in MODES:
        near = difflib.get_close_matches(name, MODES, n=1, cutoff=0.3)
        raise RecipeError("unknown mode", where=where, got=name, wanted=", ".join(MODES),
                          remedy=f"did you mean {near[0]}?" if near else None)  # fmt: skip
    return MODES[name]


def check_ends(mode: Mode, io: str | None) -> None:
    """Refuse ends of a file that a mode cannot have.

    Raises:
        RecipeError: names both.
    """
    if io is not None and io not in mode.ends:
        raise RecipeError(f"a file of mode {mode.name} has no {io} ends", where="io", got=io,
                          wanted=" or ".join(mode.ends), remedy="choose another --io or --mode")  # fmt: skip


def plan_from_options(
    mode: str, grid: Grid, layers: Mapping[str, Any] | None = None, *, packed: bool = False, where: str = "layers"
) -> Plan:
    """A plan from what a user wrote: by pattern, a mode's name or a table of ``mode`` and ``bits``.

    Raises:
        RecipeError: an unknown mode or key, or bits that have no grid.
    """
    from edgeq.strict_toml import table_to_dataclass

    choices = {}
    for pattern, given in (layers or {}).items():
        if isinstance(given, LayerChoice):
            choices[pattern] = given
            continue
        table = {"mode": given} if isinstance(given, str) else {"bits": given} if isinstance(given, int) else given
        if not isinstance(table, dict):
            raise RecipeError(
                "bad value", where=f"{where}.{pattern}", got=repr(given), wanted="a mode, bits or a table"
            )
        choices[pattern] = table_to_dataclass(LayerChoice, table, where=where, prefix=f"{pattern}.")
    return Plan(mode_named(mode, "mode"), grid, choices, packed)
