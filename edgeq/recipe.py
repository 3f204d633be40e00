"""The recipe: every choice of a build in frozen dataclasses, read from strict TOML and written back resolved.

Defaults live here, those of ``[train]`` and ``[regularizer]`` in ``train_recipe`` and ``regularizer_recipe``. A field
left out of the TOML keeps its default; an unknown key is an error that names the nearest known one. No torch, no data:
a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeq.compress.method import Method
from edgeq.errors import FormatError, RecipeError
from edgeq.fixed_point import check_fixed_point
from edgeq.grid import Grid
from edgeq.modes import LayerChoice, Plan, check_ends, plan_from_options
from edgeq.regularizer_recipe import RegularizerRecipe
from edgeq.rounding.options import RoundingRecipe
from edgeq.rounding.table import METHODS
from edgeq.strict_toml import dataclass_to_toml, read_toml, require, table_to_dataclass
from edgeq.tasks import Task
from edgeq.train_recipe import TrainRecipe

__all__ = [
    "DataRecipe",
    "QuantizeRecipe",
    "Recipe",
    "RegularizerRecipe",
    "RoundingRecipe",
    "TrainRecipe",
    "load_recipe",
    "recipe_from_dict",
    "recipe_of_training",
    "recipe_to_dict",
    "recipe_to_toml",
]

BATCH_NORM_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Where the images come from.

    Attributes:
        path: ``digits``, ``sums`` (pairs of numbers), or a folder or archive of ``train/<class>/*`` and
            ``test/<class>/*``, CIFAR-10's own batches, or MNIST's IDX files.
        image_size: side in pixels that folder images are resized to; 0 takes them as they are (all must then be equal).
        crop: side of the part that the network sees, at a random place of training images and the centre of all others;
            0 for whole images.
        cache: a folder on disk for images that memory cannot hold: those of a folder are decoded to a file there, once,
            and used from it; empty for memory.
        unreadable: what an unreadable image does: ``error`` stops, ``skip`` leaves it out and counts it.
    """

    path: str = "digits"
    image_size: int = 0
    crop: int = 0
    cache: str = ""
    unreadable: Literal["error", "skip"] = "error"

    def __post_init__(self) -> None:
        require(0 <= self.image_size <= 4096, "data.image_size", self.image_size, "0 to 4096")
        require(0 <= self.crop <= 4096, "data.crop", self.crop, "0 to 4096")


@dataclass(frozen=True, slots=True)
class QuantizeRecipe:
    """How activations get their grids and how the file talks to the outside.

    Attributes:
        calibration: a recipe of ``calibration/`` by name, or a TOML file.
        batch_norm_images: augmented training images over which batch-norm statistics are taken anew, when the weights
            are on the grid; 0 keeps those of the training; left out, it follows the bits
            (:meth:`batch_norm_images_for`).
        mode: what the file computes in: ``int8``, ``int16``, ``dynamic``, ``float16`` or ``float32``.
        packed: store codes of 4 bits or fewer two a byte where a kernel takes them so.
        scale_format: ``free``, or ``power-of-two`` of weights and activations: dynamic fixed point.
        io: ``uint8`` (pixels in, softmax scores out), ``int8`` (bare codes, logits out) or ``float32``; left out,
            ``uint8`` in mode ``int8`` and ``float32`` in the others.
    """

    calibration: str = "minmax"
    batch_norm_images: int | None = None
    mode: Literal["int8", "int16", "dynamic", "float16", "float32"] = "int8"
    packed: bool = False
    scale_format: Literal["free", "power-of-two"] = "free"
    io: Literal["uint8", "int8", "float32"] | None = None

    def __post_init__(self) -> None:
        count = self.batch_norm_images
        require(count is None or 0 <= count <= 10_000_000, "quantize.batch_norm_images", count, "0 to 10000000")

    @property
    def ends(self) -> Literal["uint8", "int8", "float32"]:
        """The type of the file's ends, or where it is left out the mode's."""
        return self.io or ("uint8" if self.mode == "int8" else "float32")

    def batch_norm_images_for(self, bits: int) -> int:
        """The images, or where they are left out 1024 below 8 bits.

        There weights move so far, so late, that the running means of the training do not follow.
        """
        if self.batch_norm_images is not None:
            return self.batch_norm_images
        return 0 if bits >= 8 else BATCH_NORM_IMAGES


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a build depends on.

    Attributes:
        model: a built-in name, ``package.module:factory`` or ``FILE.py:factory``.
        task: what it is trained for: ``classify``, ``reconstruct`` (the input again: an auto-encoder) or ``sum`` (of
            all inputs); the latter two by squared error.
        target: a device of ``targets/`` by name, or a TOML file.
        bits: bits a weight; left out, 8, or what the method has.
        method: how weights come to rest on the grid: ``periodic`` (the term of ``regularizer``), ``straight-through``
            (the forward pass computes with rounded weights, their step is learned: LSQ), ``post-training`` (not before
            the snap), ``bit-progressive`` (one set of weights for all of ``rounding.widths``), or a method of one and
            two bits: ``binary-connect``, ``bnn``, ``bwn``, ``xnor-net``, ``dorefa``, ``twn``, ``ttq``.
        seed: of initial weights, order, augmentation and calibration samples.
        data, train, regularizer, rounding, quantize: the parts.
        layers: another mode or other bits for layers, by patterns over their names: a mode, bits, or a table of
            ``mode`` and ``bits``; of several that match, the last wins. The term brings each layer to a grid of its own
            bits.
        compress: what is done to the trained network, in order, each followed by its epochs of retraining; the periodic
            term pulls in the last training only. The table of a method names it with ``method``.
    """

    model: str = "resnet20"
    task: Task = "classify"
    target: str = "cortex-a75"
    bits: int = None  # type: ignore[assignment]  # a number once it is made
    method: Literal[
        "periodic",
        "straight-through",
        "post-training",
        "bit-progressive",
        "binary-connect",
        "bnn",
        "bwn",
        "xnor-net",
        "dorefa",
        "twn",
        "ttq",
    ] = "periodic"
    seed: int = 0
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    regularizer: RegularizerRecipe = field(default_factory=RegularizerRecipe)
    rounding: RoundingRecipe = field(default_factory=RoundingRecipe)
    quantize: QuantizeRecipe = field(default_factory=QuantizeRecipe)
    layers: Mapping[str, str | int | LayerChoice] = field(default_factory=dict)
    compress: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        self._settle_method()
        Grid(self.bits, self.regularizer.function)  # raises when there is no such grid in int8
        stages = (*self.regularizer.stages, self.bits)
        fits = max(stages) <= 24 and all(first > second for first, second in itertools.pairwise(stages))
        wanted = f"falling bits, 24 to {self.bits + 1}"
        require(fits, "regularizer.stages", list(self.regularizer.stages), wanted)
        require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2^63 - 1")
        object.__setattr__(self, "layers", {name: _shortest(choice) for name, choice in self.layers.items()})
        if self.task != "classify" and self.train.label_smoothing:
            raise RecipeError("there are no classes to spread a target over", where="train.label_smoothing",
                              got=self.train.label_smoothing, remedy=f"leave it out of task {self.task}")  # fmt: skip
        train = self.train
        taught = self.task == "classify" and (train.teachers or train.init or self.compress)
        if train.distillation and not taught:
            raise RecipeError("there is no trained classifier to learn from", where="train.distillation",
                              got=train.distillation,
                              remedy="give train.teachers or train.init, or leave it out")  # fmt: skip
        differentiated = self.method == "periodic" and self.regularizer.scale_update == "differentiated"
        if differentiated and self.regularizer.form_for(self.bits) != "loss":
            raise RecipeError("a pull has no gradient for the scale", where="regularizer.scale_update",
                              got="differentiated", remedy='set regularizer.form to "loss"')  # fmt: skip
        self._check_ends_on_the_grid()
        plan = self.plan
        check_ends(plan.mode, self.quantize.ends)
        if self.train.activations != "float" and plan.uses != {"int8"}:
            raise RecipeError("activations are rounded in training of int8 networks alone", where="train.activations",
                              got=", ".join(sorted(plan.uses)), remedy="use --activations float")  # fmt: skip
        if plan.packed and not plan.packs and not any(method.finds_bits for method in self.compress):
            raise RecipeError("no weights are of 4 bits or fewer", where="quantize.packed", got=f"bits = {self.bits}",
                              remedy="leave packed out, or choose fewer bits")  # fmt: skip
        if self.grid.power_of_two:
            check_fixed_point(self)
        for method in self.compress:
            if method.keeps_zeros and self.regularizer.function == "cosine":
                raise method.refuse("the grid has no zero, which is what it makes of weights",
                                    "take a sine grid, or the method twn or ttq")  # fmt: skip
            method.check(self)

    def _settle_method(self) -> None:
        """Bits and function that follow from the method, and what does not go with it."""
        row = METHODS.get(self.method)
        if self.bits is None:
            object.__setattr__(self, "bits", row.bits[0] if row else min(self.rounding.widths, default=8))
        self.rounding.check(self.method, self.bits, self.quantize.mode)
        if row is not None:
            require(not self.regularizer.stages, "regularizer.stages", list(self.regularizer.stages),
                    f"left out beside method = {self.method}, which has no term")  # fmt: skip
            scale = "channel" if row.scale == "channel" else self.regularizer.scale
            term = dataclasses.replace(self.regularizer, function=row.function, scale=scale)
            object.__setattr__(self, "regularizer", term)

    def at_width(self, bits: int) -> Recipe:
        """The recipe of a bit-progressive build at another of its widths."""
        packed = self.quantize.packed and bits <= 4
        return dataclasses.replace(self, bits=bits, quantize=dataclasses.replace(self.quantize, packed=packed))

    def with_layer_bits(self, bits: Mapping[str, int]) -> Recipe:
        """The recipe with bits for single layers, by name; what else ``[layers]`` says of them stays."""
        if not bits:
            return self
        own = self.plan.layers
        modes = {name: own[name].mode if name in own else None for name in bits}
        found = {name: LayerChoice(modes[name], number) for name, number in bits.items()}
        kept = {pattern: choice for pattern, choice in self.layers.items() if pattern not in bits}
        return dataclasses.replace(self, layers={**kept, **found})

    @property
    def ends(self) -> int:
        """Bits of the first and the last layer; 0 where they are as all others."""
        return self.rounding.ends_for(self.method)

    @property
    def activation_bits(self) -> int:
        """Bits of what the method's layers read; 0 stands for 8, as everywhere."""
        return self.rounding.activations_for(self.method)

    def _check_ends_on_the_grid(self) -> None:
        """Refuse what would leave the weights beside the points that the periodic term brings them to."""
        reasons = {"ema": "averages of weights on a grid lie beside it", "patience": "its pull ends with the training"}
        for key, reason in reasons.items():
            if self.method == "periodic" and getattr(self.train, key):
                raise RecipeError(
                    f"not with the periodic method: {reason}",
                    where=f"train.{key}",
                    got=getattr(self.train, key),
                    remedy="use it with --method post-training, then start from the checkpoint with train.init",
                )

    @property
    def grid(self) -> Grid:
        """The grid that weights are trained towards and rounded to."""
        return Grid(self.bits, self.regularizer.function, self.quantize.scale_format == "power-of-two")

    @property
    def plan(self) -> Plan:
        """Modes and grids by layer."""
        return plan_from_options(self.quantize.mode, self.grid, self.layers, packed=self.quantize.packed)


def _shortest(choice: str | int | LayerChoice) -> str | int | LayerChoice:
    """A choice as a recipe has it: a mode or bits alone without a table around it."""
    if not isinstance(choice, LayerChoice) or (choice.mode is not None and choice.bits is not None):
        return choice
    return choice if choice.mode is None and choice.bits is None else choice.mode or choice.bits or choice


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Args:
        path: a TOML file; what it leaves out keeps its default.

    Returns:
        The recipe, checked.

    Raises:
        RecipeError: unreadable, no TOML, an unknown key, or a value of the wrong type or range.
    """
    return recipe_from_dict(read_toml(Path(path)), where=str(path))


def recipe_of_training(folder: Path) -> Recipe:
    """The recipe in the folder that ``edgeq build`` or ``edgeq train`` left, with the weights beside it.

    Raises:
        FormatError: one of the two is missing.
        RecipeError: as :func:`load_recipe`.
    """
    for name in ("recipe.toml", "checkpoint.safetensors"):
        if not (folder / name).is_file():
            raise FormatError("is not the folder of an edgeq build or training", where=folder, wanted=name)
    return load_recipe(folder / "recipe.toml")


def recipe_from_dict(table: dict[str, Any], *, where: str = "recipe") -> Recipe:
    """Check a parsed recipe and make the dataclass of it.

    Raises:
        RecipeError: an unknown key, or a value of the wrong type or range.
    """
    return table_to_dataclass(Recipe, table, where=where)


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, for JSON; :func:`recipe_from_dict` takes it back without its None."""
    table = dataclasses.asdict(recipe)
    table["compress"] = [method.to_table() for method in recipe.compress]
    return table


def recipe_to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML that :func:`load_recipe` reads back to an equal recipe."""
    return dataclass_to_toml(recipe)
