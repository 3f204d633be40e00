"""Every way to make a network smaller, on one network, beside its plain 8-bit build, at equal epochs and seeds.

For each seed a network is trained without a grid. Each row starts from its weights and trains on for the same number of
epochs, all rounds of its methods together; the pull is in the last ones. What counts is what arrives on the device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from edgeq.compress import Method, method_from_option
from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.progress import Progress
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.reproduce.compression_table import CompressionRow, CompressionTable, Instructions
from edgeq.reproduce.few_bits import ROWS, few_bit_runs
from edgeq.reproduce.seeds import accuracy, figures
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["ENTRIES", "Entry", "compare_compression", "compression_runs"]

RATE: Final = 0.01
TARGETS: Final = ("cortex-a7", "cortex-a75")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table: what is done to the trained network.

    Attributes:
        name: of its runs.
        compress: methods in order, as ``--compress`` has them; epochs are dealt out evenly over their rounds.
        paper: the figure of the method's own paper for a network of this kind, where it has one.
    """

    name: str
    compress: tuple[str, ...] = ()
    paper: str = ""

    def methods(self, epochs: int) -> tuple[Method, ...]:
        """Its methods with their shares of the epochs, the remainder to the last one."""
        found = [method_from_option(text) for text in self.compress]
        left, tuned = epochs, list[Method]()
        for index, method in enumerate(found):
            share = max(1, left // sum(later.rounds for later in found[index:]))
            left -= share * method.rounds
            tuned.append(dataclasses.replace(method, epochs=share, learning_rate=RATE))
        return tuple(tuned)


PLAIN: Final = "plain-8bit"
PAPERS: Final = {
    "few-binary-connect-1bit": "CIFAR-10, VGG-like: 90.10 % (float 89.36 %)",
    "few-binary-connect-stochastic-1bit": "CIFAR-10, VGG-like: 91.73 % (float 89.36 %)",
    "few-bwn-8-bit-ends-1bit": "ImageNet, ResNet-18: 60.8 % (float 69.3 %)",
    "few-bnn-layers-read-signs-1bit": "CIFAR-10, VGG-like: 89.85 %",
    "few-xnor-net-layers-read-signs-8-bit-ends-1bit": "ImageNet, ResNet-18: 51.2 % (float 69.3 %)",
    "few-dorefa-layers-read-2-bits-8-bit-ends-1bit": "ImageNet, AlexNet, 1-bit weights: 53.9 % (float 57.2 %)",
    "few-twn-2bit": "CIFAR-10, VGG-7: 92.56 % (float 92.88 %)",
    "few-ttq-8-bit-ends-2bit": "CIFAR-10, ResNet-20: 91.13 % (float 91.77 %)",
}
ENTRIES: Final = (
    Entry(PLAIN),
    Entry("prune-50", ("prune-magnitude,sparsity=0.5",)),
    Entry("prune-80", ("prune-magnitude,sparsity=0.8",)),
    Entry("prune-90-in-4", ("prune-magnitude,sparsity=0.9,steps=4",)),
    Entry("prune-2-of-4", ("prune-balanced,keep=2,of=4",)),
    Entry("channels-magnitude", ("prune-channels,macs=0.5,multiple=8",)),
    Entry("channels-activation", ("prune-channels,criterion=activation,macs=0.5,multiple=8",)),
    Entry("channels-fisher", ("prune-channels,criterion=fisher,macs=0.5,multiple=8",)),
    Entry("share-16", ("share-weights,bits=4",)),
    Entry("prune-80-share-16", ("prune-magnitude,sparsity=0.8", "share-weights,bits=4")),
    Entry("symmetric", ("symmetric,form=average",), paper="CIFAR-10, WRN-16-1-bottleneck: 91.17 % (float 91.51 %)"),
    Entry("symmetric-triangular", ("symmetric,form=triangular",), paper="the same: 91.16 %"),
    Entry("low-rank", ("low-rank,macs=0.6",)),
    Entry("spatial-separable", ("spatial-separable,macs=0.5",)),
    Entry("depthwise-separable", ("depthwise-separable,multiplier=1",)),
    *(Entry(row.key, paper=PAPERS.get(row.key, "")) for row in ROWS),
)


def compression_runs(
    recipe: Recipe, epochs: int, retraining_epochs: int, seeds: Sequence[int], entries: Sequence[Entry] = ENTRIES
) -> list[Run]:
    """For each seed the network without a grid, named as in the other comparisons, and what starts from it.

    Rows of one and two bits are the runs of ``edgeq reproduce few-bits``.

    Args:
        recipe: network, data, and how the network without a grid is trained.
        epochs: of that.
        retraining_epochs: of each row.
        seeds: of the repetitions.
        entries: the rows.
    """
    runs = []
    for seed in seeds:
        base = dataclasses.replace(recipe, seed=seed, bits=8, method="post-training")
        start = dataclasses.replace(base, train=dataclasses.replace(recipe.train, epochs=epochs))
        runs.append(Run(f"float-seed{seed}", start, whole=True))
        tuned = {run.name: run for run in few_bit_runs(recipe, epochs, retraining_epochs, [seed])}
        for entry in entries:
            if (few := tuned.get(f"{entry.name}-seed{seed}")) is not None:
                runs.append(few)
                continue
            made = _recipe_of(
                entry, dataclasses.replace(base, method="periodic"), retraining_epochs, f"float-seed{seed}"
            )
            runs.append(Run(f"{entry.name}-seed{seed}", made, whole=True, after=f"float-seed{seed}"))
    return runs


def _recipe_of(entry: Entry, base: Recipe, epochs: int, start: str) -> Recipe:
    methods = entry.methods(epochs)
    train = dataclasses.replace(
        base.train,
        epochs=0 if methods else epochs,
        learning_rate=RATE,
        rate_schedule="cosine",
        init=f"{start}/checkpoint.safetensors" if methods else "",  # the sweep says where that is
    )
    pull = RegularizerRecipe(form="decoupled", pull=1.0)
    return dataclasses.replace(base, train=train, regularizer=pull, compress=methods)


def compare_compression(
    data: str | Path = "digits",
    out: str | Path = "out/compression",
    *,
    model: str = "resnet20",
    epochs: int = 100,
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
        epochs: of the training without a grid.
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
    """
    from edgeq.errors import RecipeError

    names = [entry.name for entry in ENTRIES]
    if unknown := [name for name in only if name not in names]:
        raise RecipeError("no such row", where="--only", got=", ".join(unknown), wanted=", ".join(names))
    entries = [entry for entry in ENTRIES if not only or entry.name in only or entry.name == PLAIN]
    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=train)
    runs = compression_runs(recipe, epochs, retraining_epochs, seeds, entries)
    with resolve_progress(progress) as shown:
        sweep = run_sweep(runs, Path(out), jobs=jobs, ray=ray, progress=shown)
        folders = {entry.name: Path(out) / f"{entry.name}-seed{seeds[0]}" for entry in entries}
        counted = _count(folders, sweep, seeds[0], shown) if bench else {}
    rows = [_row(entry, sweep, Path(out), tuple(seeds), counted.get(entry.name, {})) for entry in entries]
    floats = figures(sweep, "float", seeds, accuracy("float"))
    return CompressionTable(epochs, retraining_epochs, tuple(seeds), floats, tuple(rows), dict(sweep.failures))


def _count(folders: Mapping[str, Path], sweep: Sweep, seed: int, progress: Progress) -> dict[str, dict[str, int]]:
    """Instructions by target, of builds whose manifest does not tell them yet counted now."""
    from edgeq.bench.artifact import BenchRequest
    from edgeq.examine import bench
    from edgeq.manifest import read_manifest

    progress.stage("Instructions")
    found: dict[str, dict[str, int]] = {}
    with progress.task("builds", len(folders)) as task:
        for name, folder in folders.items():
            if f"{name}-seed{seed}" in sweep.manifests:
                manifest = read_manifest(folder / "manifest.json")
                missing = [target for target in TARGETS if not _instructions(manifest, target)]
                if missing:
                    bench(folder, missing, BenchRequest(operations=False))
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
        return CompressionRow(entry.name, entry.compress, accuracies, paper=entry.paper)
    path = out / name / "model.tflite"
    content = path.read_bytes()
    layers = sweep.manifests[name]["layers"]
    return CompressionRow(
        entry.name,
        entry.compress,
        accuracies,
        weights=sum(_product(layer["shape"]) for layer in layers),
        macs=inspect_file(path).macs,
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
