"""What the paper does not have: 8, 4 and 2 bits by every method, at equal epochs and seeds, through the TFLite file.

For each seed a network is trained without a grid; then, from its weights, once more for each method and number of bits,
over the same few epochs: towards the grid by a pull, straight-through with a learned step, and plainly, to
be rounded afterwards. The last, before it is rounded, is the control: what more epochs gain without a grid.

A rate that lets weights find a coarse grid takes a trained network from where it was: 8 epochs at 0.02 cost a ResNet-20
of 89.1 % on CIFAR-10 half a point without any grid. So the rate is that of ``TrainRecipe`` for fine-tuning, which
falls with the bits, and all rows learn from the network that they begin with, half of their loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe
from edgeq.reproduce.comparison import FLOAT_BITS, Comparison, ComparisonRow, StorageRow
from edgeq.reproduce.seeds import accuracy, distance, figures
from edgeq.reproduce.start import Start, float_name
from edgeq.sweep import Run, Sweep, run_sweep

__all__ = ["compare_methods", "make_comparison", "method_runs"]

METHODS: Final = ("periodic", "straight-through", "post-training")
BITS: Final = (8, 4, 2)
DISTILLATION: Final = 0.5
LATENT_BITS: Final = 4

Method = Literal["periodic", "straight-through", "post-training"]
Activations = Literal["float", "fake-quantize"]


def method_runs(
    recipe: Recipe,
    start: Start,
    fine_tuning_epochs: int,
    seeds: Sequence[int],
    bits: Sequence[int] = BITS,
    *,
    activations: Activations = "float",
) -> list[Run]:
    """For each seed the network without a grid, and what starts from it.

    Args:
        recipe: network, data, and what all trainings have in common.
        start: how the network without a grid is trained.
        fine_tuning_epochs: of each training after it.
        seeds: of the repetitions.
        bits: to compare at.
        activations: in each training after the first.
    """
    runs = start.runs(recipe, seeds)
    tuning = dataclasses.replace(
        recipe.train,
        epochs=fine_tuning_epochs,
        rate_schedule="cosine",
        distillation=DISTILLATION,
        activations=activations,
    )
    for seed in seeds:
        base = dataclasses.replace(recipe, seed=seed, bits=8, method="post-training")
        first = float_name(seed)
        for width in bits:
            for method in METHODS:
                form: Literal["decoupled", "latent"] = "latent" if width <= LATENT_BITS else "decoupled"
                pull = RegularizerRecipe(form=form, pull=1.0)
                again = method == "post-training" and width != bits[0] and activations == "float"
                after = f"{method}-{bits[0]}bit-seed{seed}" if again else first
                train = dataclasses.replace(tuning, init=f"{after}/checkpoint.safetensors")
                if again:  # the same training, rounded otherwise
                    train = dataclasses.replace(train, epochs=0, distillation=0.0)
                choice = dataclasses.replace(base, bits=width, method=method, train=train, regularizer=pull)
                runs.append(Run(f"{method}-{width}bit-seed{seed}", choice, whole=True, after=after))
    return runs


def compare_methods(
    data: str | Path = "digits",
    out: str | Path = "out/methods",
    *,
    model: str = "resnet20",
    epochs: int = 100,
    initial_image_size: int = 0,
    teachers: Sequence[str] = (),
    fine_tuning_epochs: int = 8,
    batch_size: int = 128,
    cutout: int = 0,
    seeds: Sequence[int] = (0, 1),
    bits: Sequence[int] = BITS,
    activations: Activations = "float",
    jobs: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    ray: str = "",
    progress: ProgressLike = None,
) -> Comparison:
    """Build what is not built yet, and compare: ``edgeq reproduce methods``.

    Args:
        data: as for :func:`edgeq.build`.
        out: the folder of the runs; a second call goes on there.
        model: the network.
        epochs: of the training without a grid.
        initial_image_size: side of its first epochs' images; 0 for whole ones.
        teachers: the folders of finished trainings whose networks it learns from.
        fine_tuning_epochs: of each training after it.
        batch_size, cutout: of all trainings.
        seeds: of the repetitions.
        bits: to compare at.
        activations: in each training after the first.
        jobs: builds at a time.
        device: what trains.
        ray: the address of a Ray cluster to run them on; empty for this machine.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Raises:
        RecipeError: the folder is of another sweep.
        FormatError: a teacher's folder is not that of a finished training.
    """
    from edgeq.reproduce.storage import compare_storage

    train = TrainRecipe(device=device, batch_size=batch_size, cutout=cutout)
    recipe = Recipe(model=model, data=DataRecipe(path=str(data)), train=train)
    start = Start(epochs, initial_image_size, tuple(teachers))
    runs = method_runs(recipe, start, fine_tuning_epochs, seeds, bits, activations=activations)
    with resolve_progress(progress) as shown:
        sweep = run_sweep(runs, Path(out), jobs=jobs, ray=ray, progress=shown)
        shown.stage("Size and latency")
        names = {width: f"{METHODS[0]}-{width}bit-seed{seeds[0]}" for width in bits}
        builds = {width: Path(out) / name for width, name in names.items() if name in sweep.manifests}
        storage = compare_storage(builds)
    return make_comparison(sweep, start, fine_tuning_epochs, tuple(seeds), tuple(bits), storage)


def make_comparison(
    sweep: Sweep,
    start: Start,
    tuned: int,
    seeds: tuple[int, ...],
    bits: tuple[int, ...],
    storage: tuple[StorageRow, ...] = (),
) -> Comparison:
    """The comparison of a sweep that has run."""
    control = _row(sweep, "float, trained on", FLOAT_BITS, f"post-training-{bits[0]}bit", seeds)
    control = dataclasses.replace(control, snapped=(), tflite=(), distance=(), tflite_bytes=())
    rows = [_row(sweep, "float", FLOAT_BITS, "float", seeds), control]
    rows += [_row(sweep, method, width, f"{method}-{width}bit", seeds) for width in bits for method in METHODS]
    return Comparison(start.text(), start.epochs, tuned, seeds, tuple(rows), dict(sweep.failures), storage)


def _row(sweep: Sweep, method: str, bits: int, name: str, seeds: Sequence[int]) -> ComparisonRow:
    """The row of the runs ``NAME-seedN``."""
    before, snapped, tflite, distances = (
        figures(sweep, name, seeds, figure)
        for figure in (accuracy("float"), accuracy("snapped"), accuracy("tflite"), distance)
    )
    manifests = [sweep.manifests[key] for seed in seeds if (key := f"{name}-seed{seed}") in sweep.manifests]
    sizes = [item["bytes"] for found in manifests for item in found["artifacts"] if item["path"] == "model.tflite"]
    return ComparisonRow(method, bits, before, snapped, tflite, distances, tuple(sizes))
