"""The public functions that make something: paths as strings or Paths, arrays as they are, one result each.

The command line calls these. What they promise beyond their docstrings: outputs are written whole or not at all, every
fault of an input is an :class:`~edgeq.errors.EdgeqError` told in one line, and nothing is printed unless ``progress``
is ``"auto"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.recipe import Recipe
from edgeq.results import BuildResult, ConvertResult, ExportResult, TrainingResult, artifact_path

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from edgeq.grid import QuantizedWeight
    from edgeq.packing.result import PackResult, UnpackResult
    from edgeq.posttraining import CalibrationData, ExportRequest

__all__ = ["build", "convert", "export", "pack", "quantize", "train", "unpack"]


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
        The file, its size, what it was compared in, and notes on what had to be added to keep the meaning.

    Raises:
        FormatError: no valid ONNX.
        ExportError: what cannot be lowered; names the node.
        VerifyError: two runtimes compute an operation differently; nothing is written.
    """
    from edgeq.posttraining import convert_file

    path = Path(out)
    with resolve_progress(progress) as shown:
        conversion, proof = convert_file(
            _path_or_model(model), path, io=io, calibration_data=calibration_data, progress=shown
        )
    return ConvertResult(path, path.stat().st_size, len(conversion.graph.operators), proof, conversion.notes)


def pack(
    artifact: str | Path | BuildResult | ExportResult | ConvertResult, out: str | Path | None = None
) -> PackResult:
    """A .tflite file of any maker as a small package, which unpacks to the very same bytes: ``edgeq pack``.

    Args:
        artifact: a .tflite file; a build's folder; or the result of one of these functions.
        out: the package; None for the .tflite file's name with ``.edgeqpack``. Replaced at once when done.

    Returns:
        The package, its size, and what became of each tensor.

    Raises:
        FormatError: the file cannot be read, is no TFLite file, or is damaged.
    """
    from edgeq.packing.package import pack_bytes
    from edgeq.packing.result import PackResult
    from edgeq.whole_file import read_whole, write_whole

    path = artifact_path(artifact)
    path = path / "model.tflite" if path.is_dir() else path
    content = read_whole(path)
    packed = pack_bytes(content, where=str(path))
    destination = path.with_suffix(".edgeqpack") if out is None else Path(out)
    write_whole(destination, packed.content)
    return PackResult(destination, len(packed.content), len(content), packed)


def unpack(package: str | Path, out: str | Path | None = None) -> UnpackResult:
    """The .tflite file in a package, byte for byte: ``edgeq unpack``.

    Args:
        package: what :func:`pack` wrote.
        out: the .tflite file; None for the package's name with ``.tflite``. Replaced at once when done.

    Returns:
        The file and its size.

    Raises:
        FormatError: the package cannot be read, is none, truncated or damaged. Nothing is written then.
    """
    from edgeq.packing.package import unpack_bytes
    from edgeq.packing.result import UnpackResult
    from edgeq.whole_file import read_whole, write_whole

    path = Path(package)
    packed = read_whole(path)
    content = unpack_bytes(packed, where=str(path))
    destination = path.with_suffix(".tflite") if out is None else Path(out)
    write_whole(destination, content)
    return UnpackResult(destination, len(content), len(packed))


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
