"""Options that several commands share, and how they become a recipe. An option given beats the recipe file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeq.cli.completion import complete_calibration, complete_data, complete_model, complete_target
from edgeq.rounding.table import METHODS

if TYPE_CHECKING:
    from edgeq.display.progress import Verbosity
    from edgeq.recipe import Recipe

__all__ = ["MODE_OPTIONS", "output_options", "recipe_from_options", "recipe_options", "verbosity"]

_F = TypeVar("_F", bound=Callable[..., Any])

# Option (as click names its parameter) to the path of the recipe's field.
FIELDS = {
    "model": ("model",),
    "bits": ("bits",),
    "method": ("method",),
    "target": ("target",),
    "seed": ("seed",),
    "data": ("data", "path"),
    "image_size": ("data", "image_size"),
    "cache": ("data", "cache"),
    "unreadable": ("data", "unreadable"),
    "epochs": ("train", "epochs"),
    "batch_size": ("train", "batch_size"),
    "optimizer": ("train", "optimizer"),
    "learning_rate": ("train", "learning_rate"),
    "rate_schedule": ("train", "rate_schedule"),
    "activations": ("train", "activations"),
    "init": ("train", "init"),
    "cutout": ("train", "cutout"),
    "initial_image_size": ("train", "initial_image_size"),
    "label_smoothing": ("train", "label_smoothing"),
    "distillation": ("train", "distillation"),
    "teachers": ("train", "teachers"),
    "precision": ("train", "precision"),
    "device": ("train", "device"),
    "regularizer": ("regularizer", "function"),
    "regularizer_form": ("regularizer", "form"),
    "amplitude": ("regularizer", "amplitude"),
    "eta": ("regularizer", "eta"),
    "schedule": ("regularizer", "schedule"),
    "scale": ("regularizer", "scale"),
    "ends": ("rounding", "ends"),
    "activation_bits": ("rounding", "activations"),
    "widths": ("rounding", "widths"),
    "calibration": ("quantize", "calibration"),
    "mode": ("quantize", "mode"),
    "layers": ("layers",),
    "compress": ("compress",),
    "packed": ("quantize", "packed"),
    "scale_format": ("quantize", "scale_format"),
    "io": ("quantize", "io"),
}


def _layers(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any] | None:
    """Patterns to what stands behind their equals sign: a mode, bits, or both with a comma."""
    layers: dict[str, Any] = {}
    for value in values:
        pattern, sign, choice = value.rpartition("=")
        if not sign or not pattern or not choice:
            raise click.BadParameter(f"{value!r} is not PATTERN=MODE or PATTERN=BITS.")
        parts = [part.strip() for part in choice.split(",")]
        layers[pattern] = {
            "bits" if part.isdigit() else "mode": int(part) if part.isdigit() else part for part in parts
        }
    return layers or None


def _widths(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    parts = (value or "").split(",")
    if value is not None and not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{value!r} is not BITS,BITS,...")
    return None if value is None else [int(part) for part in parts]


def _compress(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """Tables of a recipe from ``NAME,key=value,...``."""
    from edgeq.compress import method_from_option

    return [method_from_option(value).to_table() for value in values] or None


# None where they are not given, so that a recipe's own stand.
MODE_OPTIONS = [
    click.option(
        "--mode",
        type=click.Choice(["int8", "int16", "dynamic", "float16", "float32"]),
        help="What the file computes in [int8].",
    ),
    click.option(
        "--layer",
        "layers",
        multiple=True,
        metavar="PATTERN=MODE|BITS",
        callback=_layers,
        help="Another mode or other bits for layers, such as 'layer3.*=float32' or 'fc=4'; repeated.",
    ),
    click.option("--packed", is_flag=True, default=None, help="Store codes of 4 bits or fewer two a byte."),
    click.option(
        "--scale-format",
        type=click.Choice(["free", "power-of-two"]),
        help="Of weights and activations; power-of-two is dynamic fixed point [free].",
    ),
]

_RECIPE_OPTIONS = [
    click.option(
        "--model",
        metavar="NAME|MODULE:FACTORY|FILE.py:FACTORY",
        shell_complete=complete_model,
        help="The network [resnet20].",
    ),
    click.option(
        "--data",
        metavar="digits|PATH",
        shell_complete=complete_data,
        help="Folder, archive, CIFAR-10 batches or IDX files [digits].",
    ),
    click.option("--image-size", type=int, metavar="PIXELS", help="Resize and crop images to this side."),
    click.option(
        "--cache", metavar="FOLDER", help="Decode a folder's images to this disk, if memory cannot hold them."
    ),
    click.option("--unreadable", type=click.Choice(["error", "skip"]), help="What an unreadable image does [error]."),
    click.option("--bits", type=int, help="Bits a weight [8, or the method's]."),
    click.option(
        "--method",
        type=click.Choice(["periodic", "straight-through", "post-training", "bit-progressive", *METHODS]),
        help="How weights come to rest on the grid [periodic].",
    ),
    click.option(
        "--compress",
        multiple=True,
        metavar="NAME,KEY=VALUE,...",
        callback=_compress,
        help="A compression method after the training, with epochs=N of retraining; repeated.",
    ),
    click.option(
        "--ends", type=int, metavar="BITS", help="Bits of the first and last layer; 0: as others [by method]."
    ),
    click.option(
        "--widths",
        metavar="BITS,BITS,...",
        callback=_widths,
        help="Of bit-progressive: the numbers of bits, falling, each with an artifact.",
    ),
    click.option("--activation-bits", type=int, help="Bits of what layers read; 0 leaves 8 [by method]."),
    click.option("--target", metavar="NAME|FILE", shell_complete=complete_target, help="The device [cortex-a75]."),
    click.option("--regularizer", type=click.Choice(["sine", "cosine", "hat"]), help="The periodic function [sine]."),
    click.option(
        "--regularizer-form", type=click.Choice(["loss", "decoupled", "latent"]), help="How it pulls [by the bits]."
    ),
    click.option("--eta", type=float, help="Of the other forms: its strength at the end [1]."),
    click.option("--amplitude", type=float, help="Of the periodic term; the final value if dynamic."),
    click.option("--schedule", type=click.Choice(["fixed", "dynamic"]), help="Of the amplitude [dynamic]."),
    click.option("--scale", type=click.Choice(["tensor", "channel"]), help="One step a layer or a channel [tensor]."),
    click.option("--epochs", type=int, help="Passes over the training images."),
    click.option("--batch-size", type=int, help="Images a step."),
    click.option(
        "--optimizer",
        type=click.Choice(["sgd", "adam", "adamw", "rmsprop", "adagrad"]),
        help="The optimizer [sgd].",
    ),
    click.option("--learning-rate", type=float, help="The peak rate [by optimizer; less with --init]."),
    click.option(
        "--rate-schedule",
        type=click.Choice(["cosine", "onecycle", "step", "exponential", "constant"]),
        help="Of the learning rate [onecycle].",
    ),
    click.option(
        "--activations",
        type=click.Choice(["float", "fake-quantize"]),
        help="Round them in training as the file will [float].",
    ),
    click.option("--init", metavar="FILE", help="Weights to start from, .safetensors."),
    click.option("--cutout", type=int, metavar="PIXELS", help="Blank a square of each training image [0]."),
    click.option(
        "--initial-image-size", type=int, metavar="PIXELS", help="Train on smaller images at first: a side [whole]."
    ),
    click.option("--label-smoothing", type=float, help="Spread so much of the target over all classes [0]."),
    click.option(
        "--distillation", type=float, help="Share of the loss that keeps answers as --teacher or --init gave them [0]."
    ),
    click.option(
        "--teacher",
        "teachers",
        multiple=True,
        callback=lambda ctx, param, values: list(values) or None,
        metavar="FOLDER",
        help="A finished train or build whose network --distillation follows; repeated.",
    ),
    click.option("--precision", type=click.Choice(["auto", "bf16", "fp32"]), help="Of the training [auto]."),
    click.option("--seed", type=int, help="Of weights, order, augmentation and calibration [0]."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="To train on [auto]."),
    click.option(
        "--calibration",
        metavar="NAME|FILE",
        shell_complete=complete_calibration,
        help="How activations get their ranges [minmax].",
    ),
    *MODE_OPTIONS,
    click.option("--io", type=click.Choice(["uint8", "int8", "float32"]), help="Type of the file's ends [by mode]."),
    click.option(
        "--recipe",
        "recipe_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A recipe in TOML; options given beside it win.",
    ),
]

_OUTPUT_OPTIONS = [
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, all else on stderr."),
    click.option("-q", "--quiet", is_flag=True, help="Only warnings and the result."),
    click.option("-v", "--verbose", is_flag=True, help="Tell of every step, with its time."),
]


def recipe_options(function: _F) -> _F:
    """Every option of the recipe."""
    for option in reversed(_RECIPE_OPTIONS):
        function = option(function)
    return function


def output_options(function: _F) -> _F:
    """``--json``, ``--quiet`` and ``--verbose``."""
    for option in reversed(_OUTPUT_OPTIONS):
        function = option(function)
    return function


def verbosity(quiet: bool, verbose: bool) -> Verbosity:
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    return "quiet" if quiet else "verbose" if verbose else "normal"


def recipe_from_options(recipe_file: Path | None, options: dict[str, Any]) -> Recipe:
    """The recipe file, or the defaults, with the options that were given.

    Raises:
        RecipeError: a key or value that cannot be used.
    """
    from edgeq.errors import RecipeError
    from edgeq.recipe import recipe_from_dict
    from edgeq.strict_toml import read_toml

    given = {FIELDS[name]: value for name, value in options.items() if value is not None}
    where = " and ".join([*([str(recipe_file)] if recipe_file else []), *(["the command line"] if given else [])])
    table = read_toml(recipe_file) if recipe_file is not None else {}
    for (*path, key), value in given.items():
        part = table
        for name in path:
            part = part.setdefault(name, {})
            if not isinstance(part, dict):
                raise RecipeError(f"bad value for {name}", where=recipe_file, got=repr(part), wanted="a table")
        if isinstance(value, dict) and isinstance(part.get(key), dict):  # the last pattern wins: these
            value = {name: item for name, item in part[key].items() if name not in value} | value
        part[key] = value
    return recipe_from_dict(table, where=where or "defaults")
