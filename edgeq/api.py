"""The public functions: paths as strings or Paths, arrays as they are, one result each. The command line calls these.

What they promise beyond their docstrings: outputs are written whole or not at all, every fault of an input is an
:class:`~edgeq.errors.EdgeqError` told in one line, and nothing is printed unless ``progress`` is ``"auto"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.recipe import Recipe
from edgeq.results import BuildResult, ConvertResult, ExportResult, ReportResult, TrainingResult, VerifyResult

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from edgeq.bench.artifact import BenchRequest, BenchResult
    from edgeq.bench.board import Measured
    from edgeq.bench.result import Emulation
    from edgeq.grid import QuantizedWeight
    from edgeq.inspection import Inspection
    from edgeq.layer_costs import Sensitivity
    from edgeq.posttraining import CalibrationData, ExportRequest
    from edgeq.targets import Target

__all__ = ["bench", "build", "convert", "export", "inspect", "quantize", "report", "sensitivity", "train", "verify"]


def build(
    recipe: Recipe | str | Path | None = None,
    out: str | Path = "out/build",
    *,
    resume: bool = False,
    android: bool = False,
    command: str = "",
    progress: ProgressLike = None,
) -> BuildResult:
    """Train a network onto its grid, export it and prove the result: ``edgeq build``.

    Args:
        recipe: every choice, or a TOML file of them; None for the defaults (a ResNet-20 on the embedded digits).
        out: the output folder; written whole at the end or not at all. An earlier result there is replaced.
        resume: go on from the last checkpoint of an interrupted build.
        android: write an Android app around the model, too.
        command: the command line that asked for it, for the report.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The folder, its manifest, and what was compared.

    Raises:
        EdgeqError: anything about recipe, data, network or files that is not as it should be; VerifyError when two
            runtimes or two files do not agree. ``out`` is then as it was.

    Example:
        >>> import edgeq
        >>> result = edgeq.build(edgeq.Recipe(bits=8, model="resnet20"), "out/demo", progress="auto")  # doctest: +SKIP
        >>> result.accuracy["tflite"]  # doctest: +SKIP
    """
    from edgeq import pipeline

    with resolve_progress(progress) as shown:
        return pipeline.build(
            _recipe(recipe), Path(out), resume=resume, android=android, command=command, progress=shown
        )


def train(
    recipe: Recipe | str | Path | None = None,
    out: str | Path = "out/train",
    *,
    resume: bool = False,
    progress: ProgressLike = None,
) -> TrainingResult:
    """Train a network onto its grid and stop there: ``edgeq train``.

    Args:
        recipe: every choice, or a TOML file of them; None for the defaults.
        out: the output folder; written whole at the end or not at all.
        resume: go on from the last checkpoint of an interrupted training.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The folder, whose ``checkpoint.safetensors`` and ``grid.safetensors`` :func:`export` takes, and its manifest.

    Raises:
        EdgeqError: anything about recipe, data or network that is not as it should be. ``out`` is then as it was.
    """
    from edgeq.pipeline import train_only

    with resolve_progress(progress) as shown:
        manifest = train_only(_recipe(recipe), Path(out), resume=resume, progress=shown)
    return TrainingResult(Path(out), manifest)


def export(
    model: str | nn.Module,
    input_shape: tuple[int, ...] | Sequence[tuple[int, ...]],
    calibration: CalibrationData | ExportRequest,
    out: str | Path = "out/model",
    *,
    checkpoint: str | Path | None = None,
    grid: str | Path | Mapping[str, QuantizedWeight] | None = None,
    classes: int = 10,
    progress: ProgressLike = None,
) -> ExportResult:
    """A PyTorch network that was trained anywhere to int8 TFLite and ONNX: ``edgeq export``.

    Args:
        model: a module (it is copied, not changed), a built-in name, ``package.module:factory`` or ``FILE.py:factory``.
        input_shape: of the input without the batch, such as ``(3, 32, 32)``; a list of them for several inputs.
        calibration: a folder or archive of images, a .npz, a float32 array [samples, ...] or one by input name; or an
            :class:`~edgeq.posttraining.ExportRequest` for more choices.
        out: the output folder, written whole or not at all.
        checkpoint: weights to load, safetensors.
        grid: a ``grid.safetensors`` of a training, or what :func:`edgeq.snap.snap` returned: these codes are kept.
        classes: outputs of a built-in network.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The folder with ``model.tflite`` and ``model.onnx``, and its manifest.

    Raises:
        EdgeqError: ModelError, DataError or ExportError, with the layer, file or node at fault.
    """
    from edgeq.posttraining import export_module

    shapes = [input_shape] if _is_shape(input_shape) else list(input_shape)
    with resolve_progress(progress) as shown:
        manifest = export_module(
            model,
            shapes,  # type: ignore[arg-type]  # _is_shape told them apart
            _request(calibration),
            Path(out),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            grid_file=Path(grid) if isinstance(grid, str) else grid,
            classes=classes,
            progress=shown,
        )
    return ExportResult(Path(out), manifest)


def quantize(
    model: str | Path | onnx.ModelProto,
    calibration: CalibrationData | ExportRequest,
    out: str | Path = "out/model",
    *,
    progress: ProgressLike = None,
) -> ExportResult:
    """A float ONNX model to int8 TFLite and ONNX, without training: ``edgeq quantize``.

    Args:
        model: a float .onnx file, or a model in memory (it is not changed).
        calibration: a folder or archive of images, a .npz, a float32 array [samples, ...] or one by input name; or an
            :class:`~edgeq.posttraining.ExportRequest` for more choices.
        out: the output folder, written whole or not at all.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The folder with ``model.tflite`` and ``model.onnx``, and its manifest.

    Raises:
        EdgeqError: FormatError, DataError or ExportError, with the file or node at fault.
    """
    from edgeq.posttraining import quantize_file

    with resolve_progress(progress) as shown:
        manifest = quantize_file(_path_or_model(model), _request(calibration), Path(out), progress=shown)
    return ExportResult(Path(out), manifest)


def convert(
    model: str | Path | onnx.ModelProto,
    out: str | Path,
    *,
    io: Literal["uint8", "int8", "int16", "float32"] = "int8",
    calibration_data: CalibrationData | None = None,
    progress: ProgressLike = None,
) -> ConvertResult:
    """A QDQ or QOperator ONNX model of any maker to an int8 TFLite file, its codes and scales kept: ``edgeq convert``.

    Args:
        model: a .onnx file with QuantizeLinear and DequantizeLinear, or a model in memory (it is not changed).
        out: the .tflite file; replaced at once when done.
        io: type of the file's inputs and outputs.
        calibration_data: as for :func:`quantize`; gives grids to what the producer left in float. None refuses that.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The file, its size, and notes on what had to be added to keep the meaning.

    Raises:
        FormatError: no valid ONNX.
        ExportError: what cannot be lowered; names the node.
    """
    from edgeq.posttraining import convert_file

    path = Path(out)
    with resolve_progress(progress) as shown:
        conversion = convert_file(_path_or_model(model), path, io=io, calibration_data=calibration_data, progress=shown)
    return ConvertResult(path, path.stat().st_size, len(conversion.graph.operators), conversion.notes)


def verify(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    reference_samples: int | None = None,
    progress: ProgressLike = None,
) -> VerifyResult:
    """Check a build again, in every runtime: ``edgeq verify``.

    Args:
        folder: a build's output folder.
        data: where the data are now; None: where the recipe says.
        reference_samples: images for LiteRT's reference kernels, which are slow; None for 256.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        Accuracy by runtime, parity by layer.

    Raises:
        FormatError: a file is missing or damaged.
        VerifyError: a file is not the one the manifest names, the data are others, or two runtimes do not agree.
    """
    from edgeq.reverify import verify_build

    with resolve_progress(progress) as shown:
        found = verify_build(
            Path(folder),
            data=None if data is None else str(data),
            reference_samples=reference_samples,
            progress=shown,
        )
    return VerifyResult(Path(folder), found)


def bench(
    artifact: str | Path | BuildResult | ExportResult | ConvertResult,
    targets: str | Path | Target | Sequence[str | Path | Target] = "cortex-a75",
    request: BenchRequest | None = None,
    *,
    compare: str | Path | None = None,
    check: bool = True,
    progress: ProgressLike = None,
) -> BenchResult:
    """What an artifact costs on a device: ``edgeq bench``.

    Under QEMU instructions are counted and times estimated; on a board times are measured.

    Args:
        artifact: a build's folder, whose golden vectors are then checked and whose manifest gets the figures; a
            .tflite file; or the result of one of these functions.
        targets: a device by name or TOML file, or several.
        request: how it is run; None for QEMU.
        compare: a second artifact, side by side.
        check: hold the outputs to the host's and record the figures in the build's manifest. With False the result
            comes back as it is; its ``check()`` and ``record()`` do both.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        A result a device.

    Raises:
        VerifyError: with ``check``, a runtime that must give the host's bytes does not.
        EdgeqError: a file is damaged, a tool is missing, the device cannot be reached or is too noisy.
    """
    from edgeq.bench.artifact import BenchRequest, bench_artifacts
    from edgeq.targets import Target, load_target

    given = [targets] if isinstance(targets, str | Path | Target) else targets
    devices = [item if isinstance(item, Target) else load_target(item) for item in given]
    with resolve_progress(progress) as shown:
        result = bench_artifacts(
            _artifact(artifact),
            devices,
            request or BenchRequest(),
            compare=None if compare is None else Path(compare),
            progress=shown,
        )
    if check:
        result.check()
        result.record()
    return result


def report(
    folder: str | Path, bench: str | Path | BenchResult | None = None, *, progress: ProgressLike = None
) -> ReportResult:
    """Draw ``report.html`` of a finished build or export again, with what a bench found: ``edgeq report``.

    Args:
        folder: what :func:`build`, :func:`export` or :func:`quantize` left.
        bench: what :func:`bench` returned, or ``edgeq bench --save`` wrote; its figures go into the manifest, too.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The page, and the manifest with its fingerprint.

    Raises:
        FormatError: a file is missing, damaged, or not of the same artifact. Page and manifest are then as they were.
    """
    from edgeq.report.page import PAGE
    from edgeq.report.redraw import redraw

    with resolve_progress(progress) as shown:
        shown.stage("Report")
        manifest = redraw(Path(folder), *_benched(bench))
    return ReportResult(Path(folder) / PAGE, manifest)


def inspect(file: str | Path) -> Inspection:
    """What is in a .tflite or .onnx file: operations, tensors, grids, sizes: ``edgeq inspect``.

    Args:
        file: of any maker.

    Returns:
        The file, taken apart.

    Raises:
        FormatError: it cannot be read, is damaged, or is neither TFLite nor ONNX.
    """
    from edgeq.inspection import inspect_file

    return inspect_file(Path(file))


def sensitivity(
    source: str | Path | onnx.ModelProto,
    *,
    data: str | Path | None = None,
    calibration_data: CalibrationData | None = None,
    calibration: str | None = None,
    bits: int | None = None,
    samples: int = 128,
    progress: ProgressLike = None,
) -> Sensitivity:
    """Which layer costs how much: one layer quantized at a time, and all but one: ``edgeq sensitivity``.

    Args:
        source: a build's folder, measured with its codes and test images; or a float .onnx file or model, rounded as
            :func:`quantize` does.
        data: labelled images, as :func:`build` takes them; of a build, where they are now.
        calibration_data: of a model without labelled data, as for :func:`quantize`.
        calibration: of a model, a recipe by name or file; None for ``minmax``.
        bits: of a model's weights; None for 8.
        samples: how many are run through each variant, at most.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        A row a layer, the costliest first.

    Raises:
        RecipeError: an option that this source has no use for, or data missing.
        EdgeqError: FormatError, DataError or ExportError, with the file or node at fault.
    """
    from edgeq.errors import RecipeError
    from edgeq.grid import Grid
    from edgeq.layer_costs import build_sensitivity, model_sensitivity
    from edgeq.posttraining import ExportRequest

    given = {"--calibration-data": calibration_data, "--calibration": calibration, "--bits": bits}
    place = None if data is None else str(data)
    with resolve_progress(progress) as shown:
        if isinstance(source, str | Path) and Path(source).is_dir():
            if used := [name for name, value in given.items() if value is not None]:
                raise RecipeError("a build has its own", where=source, got=", ".join(used), remedy="leave it out")
            return build_sensitivity(Path(source), data=place, samples=samples, progress=shown)
        if (data is None) == (calibration_data is None):
            raise RecipeError(
                "a model needs data", where="sensitivity", got="both" if data is not None else "none",
                wanted="--data (labelled images) or --calibration-data",
            )  # fmt: skip
        request = ExportRequest(
            "" if calibration_data is None else calibration_data,
            calibration=calibration or "minmax",
            grid=Grid(bits or 8),
        )
        return model_sensitivity(_path_or_model(source), request, data=place, samples=samples, progress=shown)


def _recipe(recipe: Recipe | str | Path | None) -> Recipe:
    from edgeq.recipe import load_recipe

    return recipe if isinstance(recipe, Recipe) else Recipe() if recipe is None else load_recipe(Path(recipe))


def _request(calibration: CalibrationData | ExportRequest) -> ExportRequest:
    from edgeq.posttraining import ExportRequest

    return calibration if isinstance(calibration, ExportRequest) else ExportRequest(calibration)


def _is_shape(shape: Sequence[object]) -> bool:
    return bool(shape) and isinstance(shape[0], int)


def _path_or_model(model: str | Path | onnx.ModelProto) -> Path | onnx.ModelProto:
    return Path(model) if isinstance(model, str) else model


def _benched(bench: str | Path | BenchResult | None) -> tuple[Sequence[Emulation | Measured], Path | None]:
    """What a bench found, and where that stands."""
    if bench is None:
        return (), None
    if isinstance(bench, str | Path):
        from edgeq.bench.results_file import read_bench

        return read_bench(Path(bench)), Path(bench)
    return (*bench.results, *bench.compared), bench.artifact


def _artifact(artifact: str | Path | BuildResult | ExportResult | ConvertResult) -> Path:
    if isinstance(artifact, BuildResult | ExportResult):
        return artifact.out
    return artifact.path if isinstance(artifact, ConvertResult) else Path(artifact)
