"""Networks that were not trained here: any module or float ONNX model to int8, and QDQ ONNX to TFLite."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError, ExportError, ModelError, RecipeError
from edgeq.grid import Grid, QuantizedWeight
from edgeq.manifest import SCHEMA, artifact_entries, layer_entries, package_versions, write_manifest
from edgeq.modes import Plan, check_ends, plan_from_options
from edgeq.progress import Progress, Silent
from edgeq.stages import StageClock
from edgeq.whole_file import write_whole
from edgeq.workspace import CHECKPOINTS, Workspace, open_workspace

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from torch import nn

    from edgeq.artifact import Artifact
    from edgeq.calibrate import CalibrationRecipe
    from edgeq.tflite.convert import Conversion, Interface
    from edgeq.verify.report import ConversionProof

__all__ = ["CalibrationData", "ExportRequest", "convert_file", "export_module", "input_samples", "quantize_file"]

OUTPUTS = ("model.tflite", "model.onnx", "grid.safetensors")

Samples = dict[str, NDArray[np.float32]]
CalibrationData = str | Path | NDArray[Any] | Mapping[str, NDArray[Any]]
"""Images, a .npz, the array [samples, ...] of a single input, or an array by input name."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """How a network that was not trained here is exported.

    Attributes:
        calibration_data: a folder or archive of images, a .npz with a float32 array an input, or such arrays: one
            [samples, ...] of a single input, or one by input name.
        calibration: a recipe of ``calibration/`` by name, or a TOML file.
        grid: bits and function of the weights.
        per_channel: one step an output channel (after the batch-norm fold) or one a tensor (before it).
        io: type of the file's ends; None: uint8 for images and int8 for arrays in mode int8, float32 in the others.
        mode: what the file computes in, a name of :data:`edgeq.modes.MODES`.
        layers: other modes or bits by layer: patterns over layer names to a mode's name, bits, or a table of ``mode``
            and ``bits``.
        packed: store codes of 4 bits or fewer two a byte where a kernel takes them so.

    Raises:
        RecipeError: an unknown mode, bits without a grid, or ends that the mode cannot have.
    """

    calibration_data: CalibrationData
    calibration: str = "minmax"
    grid: Grid = dataclasses.field(default_factory=Grid)
    per_channel: bool = True
    io: Interface | None = None
    mode: str = "int8"
    layers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    packed: bool = False

    def __post_init__(self) -> None:
        check_ends(self.plan.mode, self.io)

    @property
    def plan(self) -> Plan:
        """Modes and grids by layer."""
        return plan_from_options(self.mode, self.grid, self.layers, packed=self.packed)


def export_module(
    source: str | nn.Module,
    input_shapes: Sequence[tuple[int, ...]],
    request: ExportRequest,
    out: Path,
    *,
    checkpoint: Path | None = None,
    grid_file: Path | Mapping[str, QuantizedWeight] | None = None,
    classes: int = 10,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """``edgeq export``: a PyTorch network to int8 TFLite and ONNX.

    Args:
        source: a built-in name, ``package.module:factory``, ``FILE.py:factory``, or a module, which is copied.
        input_shapes: of each input, without the batch.
        request: calibration, grid and interface.
        out: the output folder, written whole or not at all.
        checkpoint: weights to load (safetensors).
        grid_file: a ``grid.safetensors`` of a training, or what is in it: these codes are kept; ``request.grid`` is
            then not used. So are the ranges of activations that the file has.
        classes: outputs of a built-in network.
        progress: shown.

    Returns:
        The manifest.
    """
    from edgeq.artifact import trained_ranges

    clock = StageClock(progress or Silent())
    with _workspace(out) as work:
        with clock.stage("model", "Network"):
            float_model, trained = _float_module(
                source, input_shapes, request, checkpoint, grid_file, classes, clock.progress
            )
        name = source if isinstance(source, str) else type(source).__name__
        ranges = trained_ranges(grid_file, float_model, request.plan) if isinstance(grid_file, Path) else None
        return _quantize(float_model, trained, request, work, clock, name, ranges)


def quantize_file(
    source: Path | onnx.ModelProto, request: ExportRequest, out: Path, *, progress: Progress | None = None
) -> dict[str, Any]:
    """``edgeq quantize``: a float ONNX model to int8 TFLite and ONNX.

    Returns:
        The manifest.
    """
    from edgeq.onnx_file import load_onnx, shown_source

    clock = StageClock(progress or Silent())
    with _workspace(out) as work:
        with clock.stage("model", "Network"):
            model = load_onnx(source)
            if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph):
                raise ExportError("is quantized already", where=shown_source(source), remedy="use edgeq convert")
        return _quantize(model, {}, request, work, clock, shown_source(source).name)


def convert_file(
    source: Path | onnx.ModelProto,
    out: Path,
    *,
    io: Interface = "int8",
    calibration_data: CalibrationData | None = None,
    calibration: str = "minmax",
    progress: Progress | None = None,
) -> tuple[Conversion, ConversionProof]:
    """``edgeq convert``: a QDQ or QOperator ONNX model of any producer to a .tflite file, its codes and scales kept.

    Each operation of the file is compared with onnxruntime, and its outputs with those of the model as it was given: on
    the calibration data if there are any, on noise if not.

    Args:
        source: the ONNX file, or the model.
        out: the .tflite file; replaced at once when done.
        io: type of the file's ends.
        calibration_data: gives grids to what the producer left in float.
        calibration: the recipe for these grids.
        progress: shown.

    Raises:
        FormatError: no valid ONNX file.
        ExportError: what cannot be lowered; names the node.
        VerifyError: two runtimes compute an operation differently; nothing is written.
    """
    from edgeq.artifact import tflite_bytes
    from edgeq.calibrate import calibrate, load_calibration
    from edgeq.foreign import make_canonical
    from edgeq.foreign.proof import compare_outputs, noise
    from edgeq.onnx_file import load_onnx
    from edgeq.tflite.convert import convert_qdq
    from edgeq.verify.few_samples import FEW_SAMPLES, compare_few
    from edgeq.verify.report import ConversionProof

    model, shown = load_onnx(source), progress or Silent()
    original, ranges = model.clone(), None
    samples: Samples = {}
    if calibration_data is not None:
        recipe = load_calibration(calibration)
        samples, _ = input_samples(model, ExportRequest(calibration_data), recipe, shown)

        def ranges() -> dict[str, tuple[float, float]]:
            return calibrate(model, samples, recipe, progress=shown)

    notes = make_canonical(model, ranges)
    conversion = convert_qdq(model, io=io)
    content = tflite_bytes(conversion.graph, None)
    samples = samples or noise(model, FEW_SAMPLES)
    layers, compared = compare_few(content, model, conversion, samples)
    few = {name: array[:compared] for name, array in samples.items()}
    outputs = compare_outputs(original, model, conversion.graph, content, few, shown)
    write_whole(out, content)
    conversion = dataclasses.replace(conversion, notes=(*notes, *conversion.notes))
    return conversion, ConversionProof(tuple(layers), compared, outputs)


@contextmanager
def _workspace(out: Path) -> Iterator[Workspace]:
    """A workspace that does not take the place of a training, whose checkpoints would be lost."""
    with open_workspace(out) as work:
        if (work.out / CHECKPOINTS).is_dir():
            raise RecipeError("the output folder holds a training", where=out, remedy="choose another --out")
        yield work


def _float_module(
    source: str | nn.Module,
    input_shapes: Sequence[tuple[int, ...]],
    request: ExportRequest,
    checkpoint: Path | None,
    grid_file: Path | Mapping[str, QuantizedWeight] | None,
    classes: int,
    progress: Progress,
) -> tuple[ir.Model, dict[str, QuantizedWeight]]:
    from edgeq.export.float_onnx import check_export, export_float
    from edgeq.models import MODELS, build_network, load_weights
    from edgeq.models.fold import fold_weights
    from edgeq.snap import load_grid, put_codes, require_exported, snap

    if not isinstance(source, str):
        model = copy.deepcopy(source).float().cpu()
    elif ":" not in source and len(input_shapes) != 1:
        raise ModelError("a built-in network takes one input", where=source, got=input_shapes, wanted="C,H,W")
    else:
        model = build_network(source, num_classes=classes, input_shape=input_shapes[0], seed=0).float().cpu()
    if checkpoint is not None:
        load_weights(model, checkpoint)
    elif isinstance(source, str) and source in MODELS:
        progress.warn("no --checkpoint is given: the weights are those of an untrained network")
    if isinstance(source, str):  # a copy of the caller's network shares what folding would take from it
        fold_weights(model)
    trained: dict[str, QuantizedWeight] = {}
    if grid_file is not None:
        trained = load_grid(grid_file) if isinstance(grid_file, Path) else dict(grid_file)
        put_codes(model, trained)
    elif not (request.per_channel or request.grid.power_of_two):  # which is rounded after the fold
        trained = snap(model, request.grid, grid_of=request.plan.grid_of)
    float_model = export_float(model, input_shapes)
    check_export(float_model, model)
    require_exported(trained, float_model.graph.initializers)
    return float_model, trained


def _quantize(
    model: ir.Model,
    trained: Mapping[str, QuantizedWeight],
    request: ExportRequest,
    work: Workspace,
    clock: StageClock,
    name: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """What export and quantize share: calibrate, convert, check the layers, write the folder."""
    from edgeq.artifact import make_artifact
    from edgeq.calibrate import load_calibration
    from edgeq.export.activations import PIXEL_GRID
    from edgeq.snap import save_grid
    from edgeq.verify.few_samples import compare_few
    from edgeq.verify.integers import compare_integers

    calibration = load_calibration(request.calibration)
    with clock.stage("data", "Calibration set"):
        samples, images = input_samples(model, request, calibration, clock.progress)
    plan = request.plan
    default = "uint8" if images and plan.mode.name == "int8" else plan.mode.ends[0]
    io = cast("Interface", request.io or default)
    with clock.stage("export", "Export"):
        pinned = dict.fromkeys(samples, PIXEL_GRID) if images else {}
        artifact = make_artifact(
            model,
            trained,
            samples,
            calibration,
            pinned=pinned,
            ranges=ranges,
            io=io,
            plan=plan,
            per_channel=request.per_channel,
            progress=clock.progress,
        )
        weights = _all_weights(trained, artifact)
        kept = {layer.removesuffix(".weight"): weight for layer, weight in weights.items()}
        (work.folder / "model.tflite").write_bytes(artifact.content)
        (work.folder / "model.onnx").write_bytes(artifact.onnx_bytes)
        save_grid(kept, work.folder / "grid.safetensors", ranges=ranges)
    with clock.stage("verify", "Verify"):
        layers, compared = compare_few(artifact.content, artifact.qdq, artifact.conversion, samples)
        codes = compare_integers(weights, artifact.qdq, artifact.conversion.graph, artifact.conversion.layouts)
    for note in artifact.notes:
        clock.progress.warn(note)
    versions = package_versions()
    manifest = {
        "schema": SCHEMA,
        "edgeq": versions["edgeq"],
        "versions": versions,
        "model": name,
        "mode": plan.mode.name,
        "calibration": {"recipe": request.calibration, "samples": len(next(iter(samples.values())))},
        "layers": layer_entries(kept),
        "parity": {
            "max_code_difference": max(
                (max(layer.onnx_difference or 0, layer.xnnpack_difference) for layer in layers), default=0
            ),
            "max_float_error": max((layer.error for layer in layers if layer.error is not None), default=None),
            "layer_samples": compared,
            "codes": codes,
            "codes_kept": codes,
            "layers": [dataclasses.asdict(layer) for layer in layers],
        },
        "artifacts": artifact_entries(work.folder, OUTPUTS),
        "stages": [dataclasses.asdict(time) for time in clock.times],
    }
    write_manifest(work.folder / "manifest.json", manifest)
    work.commit()
    return manifest


def _all_weights(trained: Mapping[str, QuantizedWeight], artifact: Artifact) -> dict[str, QuantizedWeight]:
    """The trained grids by layer, and by initializer those that were rounded here; all with the outputs first."""
    from edgeq.export.layer_parts import CODES_SUFFIX
    from edgeq.verify.integers import onnx_weight

    plan = {re.sub(r"\.weight(_\d+)?$", "", name) for name in artifact.weights}
    weights = {layer: weight for layer, weight in trained.items() if layer in plan}
    for name, weight in artifact.weights.items():
        if re.sub(r"\.weight(_\d+)?$", "", name) not in trained:
            codes, _ = onnx_weight(artifact.qdq, f"{name}{CODES_SUFFIX}", name)
            weights[name] = dataclasses.replace(weight, codes=np.ascontiguousarray(codes))
    return weights


def input_samples(
    model: ir.Model, request: ExportRequest, calibration: CalibrationRecipe, progress: Progress
) -> tuple[Samples, bool]:
    """The calibration set by input name, and whether it is images."""
    from edgeq.data import load_arrays, load_images, normalize, require_arrays

    shapes: dict[str, tuple[int, ...]] = {}
    for value in model.graph.inputs:
        sizes = tuple(value.shape)[1:] if value.shape is not None else ()
        if not all(isinstance(size, int) for size in sizes):
            raise ExportError("an input's shape is not fixed", where=value.name, got=value.shape)
        shapes[str(value.name)] = tuple(int(size) for size in sizes)  # type: ignore[arg-type]
    given = request.calibration_data
    if not isinstance(given, str | Path) or Path(given).suffix == ".npz":
        names_and_shapes = list(shapes.items())
        if isinstance(given, str | Path):
            arrays = load_arrays(Path(given), names_and_shapes)
        else:
            arrays = require_arrays(given, names_and_shapes)
        count = len(next(iter(arrays.values())))
        chosen = np.linspace(0, count - 1, min(count, calibration.samples)).round().astype(np.intp)
        return {name: array[chosen] for name, array in arrays.items()}, False
    (name, shape), *others = shapes.items()
    if others or len(shape) != 3:
        raise DataError(
            "images calibrate a network of one image",
            where=given,
            got=f"inputs {', '.join(f'{key} {list(size)}' for key, size in shapes.items())}",
            remedy="give a .npz with an array an input",
        )
    images = load_images(
        str(given),
        size=(shape[1], shape[2]),
        channels=shape[0],
        limit=calibration.samples,
        progress=progress,
    )
    return {name: normalize(images).numpy()}, True
