"""``edgeq reproduce``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli.console import print_table
from edgeq.cli.groups import SuggestingGroup
from edgeq.cli.options import output_options, verbosity
from edgeq.display.progress import showing_progress

if TYPE_CHECKING:
    from edgeq.reproduce.methods import Comparison
    from edgeq.reproduce.table1 import Table1
    from edgeq.reproduce.table2 import Table2

__all__ = ["command"]


@click.group("reproduce", cls=SuggestingGroup, epilog="Example: edgeq reproduce table1")
def command() -> None:
    """The paper's tables, computed again."""


@command.command("table1", epilog="Example: edgeq reproduce table1 --json")
@output_options
def table1_command(as_json: bool, quiet: bool, verbose: bool) -> None:
    """Peak rates of the devices: as printed, and with every row counted alike."""
    verbosity(quiet, verbose)
    from edgeq.reproduce import reproduce_table1

    table = reproduce_table1()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(table), indent=2))
        return
    _print(table)


@command.command("table2", epilog="Example: edgeq reproduce table2 --data cifar10.tar.xz --epochs 10 --seed 0 --seed 1")
@click.option("--data", required=True, metavar="PATH", help="CIFAR-10: folder, archive or its own batches.")
@click.option("--model", default="resnet20", metavar="NAME", help="The network [resnet20].")
@click.option("--epochs", type=click.IntRange(1), default=100, help="Of each training [100, as in the paper].")
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0,), help="Repeated for several [0].")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Trainings at a time [1].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="To train on [auto].")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/table2"), help="Folder of the runs.")
@output_options
def table2_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """Accuracy by amplitude, schedule and bits, trained again beside the paper's figures.

    Called again with the same --out it goes on where it stopped.
    """
    from edgeq.reproduce.table2 import reproduce_table2

    with showing_progress(verbosity(quiet, verbose)) as progress:
        table = reproduce_table2(data, out, seeds=seeds, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(table.to_dict(), indent=2))
    else:
        _print_table2(table)


@command.command("methods", epilog="Example: edgeq reproduce methods --data cifar10.tar.xz --epochs 100 --jobs 2")
@click.option("--data", default="digits", metavar="digits|PATH", help="Folder, archive or CIFAR-10 batches [digits].")
@click.option("--model", default="resnet20", metavar="NAME", help="The network [resnet20].")
@click.option("--epochs", type=click.IntRange(1), default=100, help="Of the training without a grid [100].")
@click.option("--fine-tuning-epochs", type=click.IntRange(1), default=8, help="Of each training after it [8].")
@click.option("--batch-size", type=click.IntRange(2), default=128, help="Images a step [128].")
@click.option("--cutout", type=click.IntRange(0), default=0, help="Blank a square of each training image [0].")
@click.option("--bits", multiple=True, type=click.IntRange(2, 8), default=(8, 4, 2), help="Repeated [8, 4, 2].")
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0, 1), help="Repeated [0, 1].")
@click.option("--jobs", type=click.IntRange(1), default=1, help="Builds at a time [1].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="To train on [auto].")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/methods"), help="Folder of the runs.")
@output_options
def methods_command(
    seeds: tuple[int, ...], data: str, out: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> None:
    """8, 4 and 2 bits by the decoupled pull, straight-through and after training, at equal epochs.

    All start from the same network without a grid; accuracies are through the TFLite file. Called again with the same
    --out it goes on where it stopped.
    """
    from edgeq.reproduce.methods import compare_methods

    with showing_progress(verbosity(quiet, verbose)) as progress:
        comparison = compare_methods(data, out, seeds=seeds, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), indent=2))
    else:
        _print_comparison(comparison)


def _print_comparison(comparison: Comparison) -> None:
    rows = []
    for row in comparison.rows:
        cells = [row.method, str(row.bits), _mean(row.before)]
        if row.bits < 32:
            cells += [_mean(row.snapped), _mean(row.tflite), _mean(row.distance, 4), _mean(row.tflite_bytes, 0)]
        rows.append(cells + [""] * (7 - len(cells)))
    columns = ["method", "bits", "before the snap, %", "snapped, %", "TFLite, %", "distance", "bytes"]
    tuned, seeds = comparison.fine_tuning_epochs, len(comparison.seeds)
    title = f"{comparison.epochs} epochs, then {tuned} for each row; mean of {seeds} seed(s)"
    print_table(title, columns, rows, right={1, 2, 3, 4, 5, 6})
    for name, line in comparison.failures.items():
        click.echo(f"failed  {name}: {line}")


def _mean(values: Sequence[float], digits: int = 2) -> str:
    return f"{sum(values) / len(values):.{digits}f}" if values else ""


def _print_table2(table: Table2) -> None:
    rows = []
    for row in table.rows:
        setting = row.setting
        cells = (
            ["default", "", ""] if setting is None else [setting.schedule, str(setting.bits), f"{setting.amplitude:g}"]
        )
        distance = f"{sum(row.distance) / len(row.distance):.3f}" if row.distance else ""
        before = sum(row.unrounded) / len(row.unrounded)
        rows.append([*cells, f"{row.paper:.2f}", f"{row.mean:.2f}", f"{before:.2f}", distance])
    columns = ["amplitude is", "bits", "a", "paper, %", "here, %", "before the snap, %", "distance"]
    title = f"Table 2: accuracy after the snap, {table.epochs} epochs, mean of {len(table.seeds)} seed(s)"
    print_table(title, columns, rows, right={1, 2, 3, 4, 5, 6})
    click.echo()
    for claim, shown in table.shape.items():
        click.echo(f"{'yes' if shown else 'no '}  {claim.replace('_', ' ')}")
    for name, line in table.failures.items():
        click.echo(f"failed  {name}: {line}")


def _print(table: Table1) -> None:
    printed = [
        [row.target, _number(row.cores), _number(row.ghz), _number(row.watts), *map(_number, row.gops.values())]
        for row in table.printed
    ]
    columns = ["", "cores", "GHz", "W", "fp32", "fp16", "int8"]
    print_table("Table 1 as printed, peak Gops", columns, printed, right=set(range(1, 7)))
    click.echo()
    corrected = [
        [
            row.target,
            row.data_type,
            row.instruction,
            _range(row.gmacs, row.gmacs_high),
            _range(row.gops, row.gops_high),
            _number(row.printed_gops),
            _number(row.gops_per_watt),
        ]
        for row in table.corrected
    ]
    columns = ["", "type", "instruction", "GMAC/s", "Gops", "printed", "Gops/W"]
    print_table("Counted alike: two operations a multiply-accumulate", columns, corrected, right={3, 4, 5, 6})
    click.echo()
    for note in table.notes:
        click.echo(note)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _range(low: float, high: float) -> str:
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"
