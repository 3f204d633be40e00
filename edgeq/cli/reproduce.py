"""``edgeq reproduce``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeq.cli.console import print_result
from edgeq.cli.groups import SuggestingGroup
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

__all__ = ["command"]

_F = TypeVar("_F", bound=Callable[..., Any])


def sweep_options(out: str, *, seeds: tuple[int, ...] = (0,), units: str = "Trainings") -> Callable[[_F], _F]:
    """Seeds, jobs, device and folder of a sweep, and the output options."""
    listed = ", ".join(map(str, seeds))
    options = [
        click.option(
            "--seed",
            "seeds",
            type=click.IntRange(0),
            multiple=True,
            default=seeds,
            help=f"Repeated for several [{listed}].",
        ),
        click.option("--jobs", type=click.IntRange(1), default=1, help=f"{units} at a time [1]."),
        click.option(
            "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="To train on [auto]."
        ),
        click.option(
            "--ray",
            default="",
            metavar="ADDRESS",
            help="Ray cluster to run on: auto, local or HOST:PORT (edgeq[ray]).",
        ),
        click.option("--out", type=click.Path(path_type=Path), default=Path(out), help="Folder of the runs."),
        output_options,
    ]

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def comparison_options(after: str, of_what: str) -> Callable[[_F], _F]:
    """Data, network and training of a comparison whose rows start from one network; ``after`` names their epochs."""
    options = [
        click.option(
            "--data", default="digits", metavar="digits|PATH", help="Folder, archive or CIFAR-10 batches [digits]."
        ),
        click.option("--model", default="resnet20", metavar="NAME", help="The network [resnet20]."),
        click.option("--epochs", type=click.IntRange(1), default=100, help="Of the training without a grid [100]."),
        click.option(
            "--initial-image-size", type=click.IntRange(0), default=0, help="Of its first epochs: a side [whole]."
        ),
        click.option(
            "--teacher",
            "teachers",
            multiple=True,
            metavar="FOLDER",
            help="A finished train or build that it learns from; repeated.",
        ),
        click.option(after, type=click.IntRange(1), default=8, help=of_what),
        click.option("--batch-size", type=click.IntRange(2), default=128, help="Images a step [128]."),
        click.option("--cutout", type=click.IntRange(0), default=0, help="Blank a square of each training image [0]."),
    ]

    def decorate(function: _F) -> _F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.group("reproduce", cls=SuggestingGroup, epilog="Example: edgeq reproduce table1")
def command() -> None:
    """The paper's tables and figures, computed again."""


@command.command("table1", epilog="Example: edgeq reproduce table1 --json")
@output_options
def table1_command(as_json: bool, quiet: bool, verbose: bool) -> None:
    """Peak rates of the devices: as printed, and with every row counted alike."""
    verbosity(quiet, verbose)
    from edgeq.reproduce import reproduce_table1

    print_result(reproduce_table1(), as_json=as_json)


@command.command("table2", epilog="Example: edgeq reproduce table2 --data cifar10.tar.xz --epochs 10 --seed 0 --seed 1")
@click.option("--data", required=True, metavar="PATH", help="CIFAR-10: folder, archive or its own batches.")
@click.option("--model", default="resnet20", metavar="NAME", help="The network [resnet20].")
@click.option("--epochs", type=click.IntRange(1), default=100, help="Of each training [100, as in the paper].")
@sweep_options("out/table2")
def table2_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Accuracy by amplitude, schedule and bits, trained again beside the paper's figures.

    Called again with the same --out it goes on where it stopped.
    """
    from edgeq.reproduce import reproduce_table2

    with showing_progress(verbosity(quiet, verbose)) as progress:
        table = reproduce_table2(data, out, seeds=seeds, progress=progress, **options)
    print_result(table, as_json=as_json)


@command.command("table3", epilog="Example: edgeq reproduce table3 --data imagenet --device cuda --jobs 5")
@click.option("--data", required=True, metavar="PATH", help="ImageNet: train/<class>/* and test/<class>/*.")
@click.option("--model", default="resnet50", metavar="NAME", help="The network [resnet50].")
@click.option("--image-size", type=click.IntRange(8), default=224, help="Side in pixels [224].")
@click.option("--cache", default="", metavar="FOLDER", help="Decode the images to this disk (ImageNet: 201 GB).")
@click.option("--epochs", type=click.IntRange(1), default=90, help="Of each training [90, as in the paper].")
@click.option("--batch-size", type=click.IntRange(2), default=256, help="Images a step [256, as in the paper].")
@sweep_options("out/table3")
def table3_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Top-1 and top-5 by function and amplitude on a folder of ImageNet's shape, beside the paper's figures.

    Called again with the same --out it goes on where it stopped.
    """
    from edgeq.reproduce import reproduce_table3

    with showing_progress(verbosity(quiet, verbose)) as progress:
        table = reproduce_table3(data, out, seeds=seeds, progress=progress, **options)
    print_result(table, as_json=as_json)


@command.command("figures", epilog="Example: edgeq reproduce figures --table2 out/table2 --out out/figures")
@click.option("--table2", type=click.Path(path_type=Path), help="Folder of table2's runs, for figures 4 and 5.")
@click.option("--table3", type=click.Path(path_type=Path), help="Folder of table3's runs, for figures 6 and 7.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/figures"), help="Folder [out/figures].")
@output_options
def figures_command(
    table2: Path | None, table3: Path | None, out: Path, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Figures 1 to 7 as SVG: the functions, and what the runs gave with the paper's figures beside.

    A figure without runs is left out.
    """
    verbosity(quiet, verbose)
    from edgeq.reproduce import reproduce_figures

    print_result(reproduce_figures(out, table2=table2, table3=table3), as_json=as_json)


@command.command("methods", epilog="Example: edgeq reproduce methods --data cifar10.tar.xz --epochs 100 --jobs 2")
@comparison_options("--fine-tuning-epochs", "Of each training after it [8].")
@click.option("--bits", multiple=True, type=click.IntRange(2, 8), default=(8, 4, 2), help="Repeated [8, 4, 2].")
@click.option(
    "--activations",
    type=click.Choice(["float", "fake-quantize"]),
    default="float",
    help="In each training after it [float].",
)
@sweep_options("out/methods", seeds=(0, 1), units="Builds")
def methods_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """8, 4 and 2 bits by a pull on the weights, straight-through and after training, at equal epochs.

    All start from the same network without a grid; accuracies are through the TFLite file. Called again with the same
    --out it goes on where it stopped.
    """
    from edgeq.reproduce import compare_methods

    with showing_progress(verbosity(quiet, verbose)) as progress:
        comparison = compare_methods(data, out, seeds=seeds, progress=progress, **options)
    print_result(comparison, as_json=as_json)


@command.command(
    "compression", epilog="Example: edgeq reproduce compression --data cifar10.tar.xz --only prune-80 --jobs 2"
)
@comparison_options("--retraining-epochs", "Of each row [8].")
@click.option("--only", multiple=True, metavar="ROW", help="This row beside the plain 8-bit build; repeated.")
@click.option("--bench/--no-bench", default=True, help="Count instructions under QEMU [bench].")
@sweep_options("out/compression", seeds=(0, 1), units="Builds")
def compression_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Every compression method beside the plain 8-bit build: accuracy, bytes, packed bytes, instructions.

    All start from the same network without a grid, that of `edgeq reproduce methods` where --out is its folder. Called
    again it goes on where it stopped.
    """
    from edgeq.reproduce import compare_compression

    with showing_progress(verbosity(quiet, verbose)) as progress:
        found = compare_compression(data, out, seeds=seeds, progress=progress, **options)
    print_result(found, as_json=as_json)
