"""Every way to make a network smaller, on one network, beside its plain 8-bit build, at equal epochs and seeds.

For each seed a network is trained without a grid. Each row starts from its weights and trains on for the same number of
epochs, all rounds of its methods together; the pull is in the last ones. What counts is what arrives on the device.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.progress import Progress
from edgeq.recipe import DataRecipe, Recipe, TrainRecipe
from edgeq.reproduce.compression_rows import ENTRIES, PLAIN, Entry
from edgeq.reproduce.compression_table import CompressionRow, CompressionTable, Instructions
from edgeq.reproduce.seeds import accuracy, figures
from edgeq.reproduce.start import Start, float_name
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["compare_compression", "compression_runs"]

TARGETS: Final = ("cortex-a7", "cortex-a75")
ERROR: Final = "edgeq: error: "
REFUSED: Final = f"{ERROR}compress "  # what a method says of a network that it cannot be applied to


def compression_runs(
    recipe: Recipe, start: Start, retraining_epochs: int, seeds: Sequence[int], entries: Sequence[Entry] = ENTRIES
) -> list[Run]:
    """For each seed the network without a grid, named as in the comparison of methods, and what starts from it.

    Args:
        recipe: network, data, and what all trainings have in common.
        start: how the network without a grid is trained.
        retraining_epochs: of each row.
        seeds: of the repetitions.
        entries: the rows.
    """
    runs = start.runs(recipe, seeds)
    for seed in seeds:
        base, first = dataclasses.replace(recipe, seed=seed, bits=8, method="post-training"), float_name(seed)
        after = dataclasses.replace(recipe.train, init=f"{first}/checkpoint.safetensors")
        for name, entry in {entry.run or entry.name: entry for entry in entries}.items():
            made = entry.made(dataclasses.replace(base, train=after), retraining_epochs)
            runs.append(Run(f"{name}-seed{seed}", made, whole=True, after=first))
    return runs


def compare_compression(
    data: str | Path = "digits",
    out: str | Path = "out/compression",
    *,
    model: str = "resnet20",
    epochs: int = 100,
    initial_image_size: int = 0,
    teachers: Sequence[str] = (),
    retraining_epochs: int = 8,
    batch_size: int = 128,
    cutout: int = 0,
    seeds: Sequence[int] = (0, 1),
    only: Sequence[str] = (),
    bench: bool = True,
    jobs: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    ray: str = "",
    progress: ProgressLike = None,
) -> CompressionTable:
    """Build what is not built yet, and compare: ``edgeq reproduce compression``.

    Args:
        data: as for :func:`edgeq.build`.
        out: the folder of the runs; a second call goes on there. That of ``edgeq reproduce methods`` with the same
            options has the networks without a grid already.
        model: the network.
        epochs, initial_image_size, teachers: of the training without a grid, as for the comparison of methods.
        retraining_epochs: of each row.
        batch_size, cutout: of all trainings.
        seeds: of the repetitions.
        only: names of rows; empty for all. The plain 8-bit build is always there.
        bench: count the instructions of the first seed's builds under QEMU.
        jobs: builds at a time.
        device: what trains.
        ray: the address of a Ray cluster to run them on.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep, or there is no such row.
        FormatError: a teacher's folder is not that of a finished training.
    """
    from edgeq.errors import RecipeError

    names = [entry.name for entry in ENTRIES]
    if unknown := [name for name in only if name not in names]:
        raise RecipeError("no such row", where="--only", got=", ".join(unknown), wanted=", ".join(names))
    entries = [entry for entry in ENTRIES if not only or entry.name in only or entry.name == PLAIN]
    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=train)
    start = Start(epochs, initial_image_size, tuple(teachers))
    runs = compression_runs(recipe, start, retraining_epochs, seeds, entries)
    with resolve_progress(progress) as shown:
        sweep = run_sweep(runs, Path(out), jobs=jobs, ray=ray, progress=shown)
        _add_parts(entries, sweep, Path(out), seeds)
        folders = {entry.name: Path(out) / entry.folder(seeds[0]) for entry in entries}
        counted = _count(folders, sweep, seeds[0], shown) if bench else {}
    rows = [_row(entry, sweep, Path(out), tuple(seeds), counted.get(entry.name, {})) for entry in entries]
    floats = figures(sweep, "float", seeds, accuracy("float"))
    refused = {f"{row.name}-seed{seed}" for row in rows if row.refused for seed in seeds}
    failures = {name: line for name, line in sweep.failures.items() if name not in refused}
    return CompressionTable(start.text(), epochs, retraining_epochs, tuple(seeds), floats, tuple(rows), failures)


def _add_parts(entries: Sequence[Entry], sweep: Sweep, out: Path, seeds: Sequence[int]) -> None:
    """Put beside the manifests of runs those of the rows that are part of one."""
    from edgeq.manifest import read_manifest

    for entry, seed in itertools.product(entries, seeds):
        if entry.run and f"{entry.run}-seed{seed}" in sweep.manifests:
            found = read_manifest(out / entry.folder(seed) / "manifest.json")
            sweep.manifests[f"{entry.name}-seed{seed}"] = found


def _count(folders: Mapping[str, Path], sweep: Sweep, seed: int, progress: Progress) -> dict[str, dict[str, int]]:
    """Instructions by target, of builds whose manifest does not tell them yet counted now; one that fails is named."""
    from edgeq.bench.artifact import BenchRequest
    from edgeq.errors import EdgeqError
    from edgeq.examine import bench
    from edgeq.manifest import read_manifest

    progress.stage("Instructions")
    found: dict[str, dict[str, int]] = {}
    with progress.task("builds", len(folders)) as task:
        for name, folder in folders.items():
            if f"{name}-seed{seed}" in sweep.manifests:
                manifest = read_manifest(folder / "manifest.json")
                missing = [target for target in TARGETS if not _instructions(manifest, target)]
                try:
                    if missing:
                        bench(folder, missing, BenchRequest(operations=False))
                except EdgeqError as error:
                    sweep.failures[f"{name}, instructions"] = str(error)
                manifest = read_manifest(folder / "manifest.json")
                found[name] = {target: _instructions(manifest, target) for target in TARGETS}
            task.advance(1, name)
    return found


def _instructions(manifest: Mapping[str, Any], target: str) -> int:
    """Of the target's runtime that takes the fewest; 0 where they were not counted."""
    entries = [entry for entry in manifest["bench"] if entry["target"] == target]
    return int(min((entry["instructions"] for entry in entries if "instructions" in entry), default=0))


def _row(entry: Entry, sweep: Sweep, out: Path, seeds: tuple[int, ...], counted: Mapping[str, int]) -> CompressionRow:
    from edgeq.inspection import inspect_file
    from edgeq.packing.package import pack_bytes

    accuracies = figures(sweep, entry.name, seeds, accuracy("tflite"))
    name = f"{entry.name}-seed{seeds[0]}"
    if name not in sweep.manifests:
        said = [sweep.failures.get(f"{entry.name}-seed{seed}", "") for seed in seeds]
        refused = said[0].removeprefix(ERROR) if all(line.startswith(REFUSED) for line in said) else ""
        return CompressionRow(entry.name, entry.compress, entry.bits, accuracies, paper=entry.paper, refused=refused)
    folder = out / entry.folder(seeds[0])
    path = folder / "model.tflite"
    content = path.read_bytes()
    layers = sweep.manifests[name]["layers"]
    return CompressionRow(
        entry.name,
        entry.compress,
        entry.bits,
        accuracies,
        weights=sum(_product(layer["shape"]) for layer in layers),
        macs=inspect_file(folder / "model.onnx").macs,  # of the layers: the other has pools that are convolutions, too
        tflite_bytes=len(content),
        packed_bytes=len(pack_bytes(content, where=str(path)).content),
        instructions=Instructions(*(counted.get(target, 0) for target in TARGETS)),
        paper=entry.paper,
    )


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
