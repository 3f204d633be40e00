"""The whole of ``edgeq build``: data, training, snap, export, verification, output folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeq.calibrate import load_calibration
from edgeq.errors import RecipeError
from edgeq.grid import QuantizedWeight
from edgeq.manifest import artifact_entries, layer_entries, write_manifest
from edgeq.outputs import OUTPUTS, build_manifest, copy_files, manifest_head, write_artifact, write_curves, write_report
from edgeq.progress import Progress, Silent
from edgeq.recipe import Recipe, recipe_to_toml
from edgeq.results import BuildResult
from edgeq.stages import StageClock
from edgeq.targets import load_target
from edgeq.tasks import classifier_of, head_of, judged, make_network, targets_of
from edgeq.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from torch import nn

    from edgeq.artifact import Artifact
    from edgeq.data import ImageData
    from edgeq.train import TrainResult
    from edgeq.verify.report import Verification

__all__ = ["build", "calibration_samples", "train_only"]

LOSS_TOLD: Final = 1.0  # points of accuracy, and so many images
FEWEST_LOST: Final = 5


def build(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    android: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> BuildResult:
    """Train a network onto its grid, export it and prove the result.

    Args:
        recipe: every choice.
        out: the output folder; written whole at the end or not at all.
        resume: go on from the last checkpoint of an interrupted build.
        android: write the Android app, too.
        command: the command line, for the report.
        progress: shown.

    Raises:
        EdgeqError: anything about recipe, data, network or files that is not as it should be; VerifyError when two
            runtimes or two files do not agree. ``out`` is then as it was.
    """
    clock = StageClock(progress or Silent())
    progress = clock.progress
    load_target(recipe.target)
    _check_calibration(recipe)
    _check_model(recipe)
    if android:
        _check_android(recipe)
        if recipe.task != "classify":
            raise RecipeError("the app shows classes", where="--android", got=f"task {recipe.task}", wanted="classify")
    with open_workspace(out, resume=resume) as work:
        with clock.stage("data", "Data"):
            data = _load_data(recipe, progress)
            recipe = _resolve(recipe, data)
        with clock.stage("model", "Network"):
            model, recipe = _make_model(recipe, data, progress)
        with clock.stage("train", "Training"):
            training, compressed, recipe = _train(model, data, recipe, work, resume, progress)
        made = _Made(model, data, training, compressed, command)
        manifest, found, notes = _finish(made, recipe, work.folder, clock, android=android)
        if training.widths:
            notes += _other_widths(made, recipe, work.folder, manifest, progress)
        work.commit()
    return BuildResult(out, manifest, found, notes)


@dataclass(frozen=True, slots=True)
class _Made:
    """What the first half of a build has made."""

    model: nn.Module
    data: ImageData
    training: TrainResult
    compressed: list[dict[str, Any]]
    command: str


def _finish(
    made: _Made, recipe: Recipe, folder: Path, clock: StageClock, *, android: bool
) -> tuple[dict[str, Any], Verification, tuple[str, ...]]:
    """From a trained network to a whole output folder: its manifest, what was compared, and notes."""
    model, data, training, progress = made.model, made.data, made.training, clock.progress
    with clock.stage("snap", "Snap to the grid"):
        trained, logits = _snap(model, data, training, recipe, folder, progress)
    with clock.stage("export", "Export"):
        artifact = _export(model, data, trained, recipe, training, progress)
        write_artifact(artifact, data, recipe, folder)
    with clock.stage("verify", "Verify"):
        found = _verify(artifact, trained, data, logits, recipe, progress)
    with clock.stage("report", "Report"):
        manifest = build_manifest(recipe, data, trained, found, training, folder, made.compressed)
        manifest["stages"] = [dataclasses.asdict(time) for time in clock.times]
        others = _write_android(folder) if android else []
        write_report(manifest, data, found, training, made.command, folder, others)
    manifest["stages"] = [dataclasses.asdict(time) for time in clock.times]
    write_manifest(folder / "manifest.json", manifest)
    return manifest, found, artifact.notes + _loss_note(found, recipe)


def _loss_note(found: Verification, recipe: Recipe) -> tuple[str, ...]:
    """A line where the file does worse than the network of the same integers in PyTorch, by more than chance."""
    if found.lost < LOSS_TOLD or found.lost * found.samples < 100 * FEWEST_LOST:
        return ()
    line = f"the file is {found.lost:.2f} points below the network on its grid: that is its rounded activations"
    if recipe.train.activations != "float":
        return (line,)
    others = " or ".join(name for name in ("mse", "percentile") if name != recipe.quantize.calibration)
    return (f"{line}; try --calibration {others}, or train with --activations fake-quantize",)


def _other_widths(
    made: _Made, recipe: Recipe, folder: Path, manifest: dict[str, Any], progress: Progress
) -> tuple[str, ...]:
    """A whole folder at each width of a bit-progressive training, and what the manifest says of them; notes."""
    notes: tuple[str, ...] = ()
    entries = []
    for width in made.training.widths:
        there, found = folder / f"{width.bits}bit", manifest
        there.mkdir()
        if width.bits == recipe.bits:
            copy_files(folder, there)
        else:
            progress.note(f"{width.bits} bits")
            made.model.load_state_dict(width.state)
            own = dataclasses.replace(made, training=dataclasses.replace(made.training, scales=width.scales))
            found, _, more = _finish(own, recipe.at_width(width.bits), there, StageClock(progress), android=False)
            notes += more
        entries.append({"bits": width.bits, "path": there.name, "tflite": found["accuracy"]["tflite"]})
    manifest["widths"] = entries
    write_manifest(folder / "manifest.json", manifest)
    return notes


def _load_data(recipe: Recipe, progress: Progress) -> ImageData:
    from edgeq.data import load_data

    return load_data(
        recipe.data.path,
        image_size=recipe.data.image_size,
        crop=recipe.data.crop,
        cache=recipe.data.cache,
        unreadable=recipe.data.unreadable,
        progress=progress,
    )


def _resolve(recipe: Recipe, data: ImageData) -> Recipe:
    """Fill in what follows from the data and the bits, so that the recipe in the output folder says it."""
    train, regularizer = recipe.train, recipe.regularizer
    if recipe.grid.power_of_two:
        form = regularizer.form or ("latent" if regularizer.amplitude is None else "loss")
        regularizer = dataclasses.replace(
            regularizer, form=form, scale_update="held", hold_epoch=regularizer.hold_epoch or 0
        )
    flip = data.mirrors if train.flip is None else train.flip
    rate = train.learning_rate_for(recipe.bits, compressed=bool(recipe.compress))
    train = dataclasses.replace(train, flip=flip, warmup=train.warmup_for(), learning_rate=rate)
    steps = math.ceil(len(data.train_images) * (1 - train.validation) / train.batch_size)
    regularizer = regularizer.resolved(recipe.bits, fine_tuning=bool(train.init or recipe.compress))
    regularizer = dataclasses.replace(regularizer, every=regularizer.every_for(steps))
    images = recipe.quantize.batch_norm_images_for(recipe.bits)
    quantize = dataclasses.replace(recipe.quantize, batch_norm_images=images, io=recipe.quantize.ends)
    return dataclasses.replace(recipe, train=train, regularizer=regularizer, quantize=quantize)


def _make_model(recipe: Recipe, data: ImageData, progress: Progress) -> tuple[nn.Module, Recipe]:
    """The network, the recipe with what follows from it, and the certainty that it can be converted before hours go
    into its training."""
    from edgeq.artifact import check_convertible
    from edgeq.compress.fold_batch_norm import check_folded
    from edgeq.compress.run import plan_steps
    from edgeq.export.float_onnx import export_float
    from edgeq.models import prepare_network
    from edgeq.models.fold import computed_weights, fold_weights, require_plain_weights
    from edgeq.rounding.attach import attach_activations, with_ends
    from edgeq.snap import quantized_layers, require_exported
    from edgeq.train.rates import check_rates

    model = make_network(recipe, data)
    if new := prepare_network(model, recipe.train, num_classes=len(data.classes), seed=recipe.seed):
        progress.warn(f"a new head for {len(data.classes)} classes: {', '.join(new)} start from the seed")
    check_rates(model, recipe.train.rates)
    plain = model
    require_plain_weights(model, plan_steps(recipe)[0].recipe.method)
    if computed_weights(model):  # another network, for a copy would share what folding takes from it
        plain = make_network(recipe, data)
        fold_weights(plain)
    layers = quantized_layers(plain)
    if recipe.grid.power_of_two:
        check_folded(plain, recipe.compress)
    recipe = with_ends(recipe, plain, data.input_shape)
    attach_activations(model, recipe, data.input_shape)
    float_model = export_float(plain, [data.input_shape], output_names=["logits"])
    require_exported(layers, float_model.graph.initializers)
    calibration = load_calibration(recipe.quantize.calibration)
    ends, head = recipe.quantize.ends, head_of(recipe)
    check_convertible(float_model, io=ends, head=head, plan=recipe.plan, calibration=calibration)
    if recipe.train.activations != "float":
        from edgeq.activations import find_sites

        find_sites(model, data.input_shape)
    return model, recipe


def _train(
    model: nn.Module, data: ImageData, recipe: Recipe, work: Workspace, resume: bool, progress: Progress
) -> tuple[TrainResult, list[dict[str, Any]], Recipe]:
    from edgeq.compress.run import train_and_compress
    from edgeq.models.fold import fold_weights
    from edgeq.train.teachers import load_teachers

    teacher = load_teachers(recipe.train.teachers, data) if recipe.train.teachers else None
    found = train_and_compress(model, data, recipe, work.folder, resume=resume, progress=progress, teacher=teacher)
    fold_weights(model)
    return found


def _snap(
    model: nn.Module, data: ImageData, training: TrainResult, recipe: Recipe, folder: Path, progress: Progress
) -> tuple[dict[str, QuantizedWeight], dict[str, NDArray[np.float32]]]:
    """Save the float network, round it, and run the test set through both."""
    from edgeq.activations import rounded
    from edgeq.models import save_weights
    from edgeq.snap import save_grid, snap
    from edgeq.train.augmentation import augmented_samples
    from edgeq.train.batch_norm import reestimate_batch_norm
    from edgeq.verify.pytorch import run_pytorch

    count = recipe.quantize.batch_norm_images_for(recipe.bits)
    samples = augmented_samples(data, recipe, count) if count else None
    if samples is not None and recipe.method != "post-training":  # the weights are on the grid already
        with rounded(model, training.activations):
            reestimate_batch_norm(model, samples, progress=progress)
    save_weights(model, folder / "checkpoint.safetensors")
    logits = {"float": run_pytorch(model, data.test_images, progress=progress, label="PyTorch, float")}
    per_channel = recipe.regularizer.scale == "channel"
    trained = snap(model, recipe.grid, per_channel=per_channel, scales=training.scales, grid_of=recipe.plan.grid_of)
    ranges = None if training.activations is None else training.activations.ranges
    save_grid(trained, folder / "grid.safetensors", ranges=ranges)
    with rounded(model, training.activations):
        if samples is not None:
            reestimate_batch_norm(model, samples, progress=progress)
        logits["snapped"] = run_pytorch(model, data.test_images, progress=progress, label="PyTorch, snapped")
    return trained, logits


def _export(
    model: nn.Module,
    data: ImageData,
    trained: Mapping[str, QuantizedWeight],
    recipe: Recipe,
    training: TrainResult,
    progress: Progress,
) -> Artifact:
    from edgeq.artifact import make_artifact
    from edgeq.export.activations import PIXEL_GRID
    from edgeq.export.float_onnx import check_export, export_float

    calibration = load_calibration(recipe.quantize.calibration)
    float_model = export_float(model, [data.input_shape], output_names=["logits"])
    check_export(float_model, model)
    samples = calibration_samples(data, calibration.samples, recipe.seed)
    return make_artifact(
        float_model,
        trained,
        {"input": samples},
        calibration,
        pinned={"input": PIXEL_GRID},
        ranges=None if training.activations is None else training.activations.ranges,
        io=recipe.quantize.ends,
        head=head_of(recipe),
        plan=recipe.plan,
        classifier=classifier_of(recipe, data.name, data.classes),
        progress=progress,
    )


def calibration_samples(data: ImageData, count: int, seed: int) -> NDArray[np.float32]:
    """Training images drawn by seed, without repetition, as the network takes them: float32 [S, C, H, W]."""
    from edgeq.data import normalize

    samples: NDArray[np.float32] = normalize(data.as_seen(data.train_images[data.drawn(count, seed)])).numpy()
    return samples


def _verify(
    artifact: Artifact,
    trained: Mapping[str, QuantizedWeight],
    data: ImageData,
    logits: Mapping[str, NDArray[np.float32]],
    recipe: Recipe,
    progress: Progress,
) -> Verification:
    from edgeq.verify.check import verify

    return verify(
        artifact.content,
        artifact.qdq,
        trained,
        artifact.conversion.layouts,
        data.test_images.numpy(),
        data.test_labels.numpy(),
        logits,
        io=recipe.quantize.ends,
        targets=targets_of(recipe, data),
        progress=progress,
    )


def _check_calibration(recipe: Recipe) -> None:
    if load_calibration(recipe.quantize.calibration).equalize:
        raise RecipeError(
            "equalize moves weights, and a build keeps their integers",
            where="quantize.calibration",
            got=recipe.quantize.calibration,
            wanted="a calibration recipe without equalize",
            remedy="use it with edgeq export or edgeq quantize",
        )


def _check_model(recipe: Recipe) -> None:
    from edgeq.models import check_name

    check_name(recipe.model)


def _check_android(recipe: Recipe) -> None:
    from edgeq.android import check_android

    check_android(recipe)


def _write_android(folder: Path) -> list[str]:
    from edgeq.android import android_files, write_android

    write_android(folder)
    return android_files(folder)


def train_only(recipe: Recipe, out: Path, *, resume: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """``edgeq train``: the first half of :func:`build`; what it leaves is what ``edgeq export`` takes.

    Returns:
        The manifest written to ``out``.
    """
    _check_model(recipe)
    if widths := list(recipe.rounding.widths):
        remedy = "use edgeq build, which leaves an artifact of each"
        raise RecipeError("a training alone leaves one width", where="rounding.widths", got=widths, remedy=remedy)
    clock = StageClock(progress or Silent())
    with open_workspace(out, resume=resume) as work:
        with clock.stage("data", "Data"):
            data = _load_data(recipe, clock.progress)
            recipe = _resolve(recipe, data)
        with clock.stage("model", "Network"):
            model, recipe = _make_model(recipe, data, clock.progress)
        with clock.stage("train", "Training"):
            training, compressed, recipe = _train(model, data, recipe, work, resume, clock.progress)
        with clock.stage("snap", "Snap to the grid"):
            trained, logits = _snap(model, data, training, recipe, work.folder, clock.progress)
        (work.folder / "recipe.toml").write_text(recipe_to_toml(recipe), encoding="utf-8")
        write_curves(training, work.folder)
        manifest = {
            **manifest_head(recipe, data, training, compressed),
            **judged(recipe, data, logits),
            "layers": layer_entries(trained),
            "artifacts": artifact_entries(work.folder, OUTPUTS),
            "stages": [dataclasses.asdict(time) for time in clock.times],
        }
        write_manifest(work.folder / "manifest.json", manifest)
        work.commit()
    return manifest
