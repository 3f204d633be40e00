"""Which layer of a network costs how much when it is quantized: of a float ONNX model, or of a finished build."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.display.summary import Result, Summary, table
from edgeq.errors import DataError, FormatError
from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir
    from numpy.typing import NDArray

    from edgeq.data import ImageData
    from edgeq.grid import QuantizedWeight
    from edgeq.posttraining import ExportRequest
    from edgeq.recipe import Recipe
    from edgeq.verify.sensitivity import Cost, LayerCost

__all__ = ["Sensitivity", "build_sensitivity", "model_sensitivity"]


@dataclass(frozen=True, slots=True)
class Sensitivity(Result):
    """What each layer's quantization costs.

    Attributes:
        source: the model or folder.
        samples: that were run.
        exact: nothing quantized.
        quantized: everything quantized.
        layers: a row each; what costs the most alone first.
    """

    source: str
    samples: int
    exact: Cost
    quantized: Cost
    layers: tuple[LayerCost, ...]

    def summary(self) -> Summary:
        columns = ["layer", "operation", "it alone quantized", "all but it"]
        rows = [[row.name, row.operation, _shown(row.alone), _shown(row.rest)] for row in self.layers]
        ends = f"all layers quantized: {_shown(self.quantized)}"
        if self.exact.accuracy is not None:
            ends = f"float: {self.exact.accuracy:.2f} %; {ends}"
        title = f"{self.source}, {self.samples} samples"
        return (table(title, columns, rows, right={2, 3}), ends, *self._advice())

    def _advice(self) -> list[str]:
        """What to do about the layers that make up most of the noise."""
        total = sum(row.alone.noise for row in self.layers)
        worst: list[str] = []
        held = 0.0
        for row in sorted(self.layers, key=lambda row: -row.alone.noise):
            if not total or held >= total / 2 or len(worst) == 4:
                break
            worst.append(row.name)
            held += row.alone.noise
        if not worst or len(worst) > len(self.layers) / 2:
            return []
        share = f"{100 * held / total:.0f} % of the noise is of {', '.join(worst)}"
        return [
            f"{share}: try --calibration corrected or equalized, or --layer to "
            "give them more bits or keep them in float"
        ]

    def to_dict(self) -> dict[str, Any]:
        """The attributes."""
        return dataclasses.asdict(self)


def _shown(cost: Cost) -> str:
    noise = "exact" if cost.sqnr_db is None else f"{cost.sqnr_db:.1f} dB"
    return noise if cost.accuracy is None else f"{cost.accuracy:.2f} %, {noise}"


def model_sensitivity(
    source: Path | onnx.ModelProto,
    request: ExportRequest,
    *,
    data: str | None = None,
    samples: int = 128,
    progress: Progress | None = None,
) -> Sensitivity:
    """Of a float ONNX model, rounded as ``edgeq quantize`` does.

    Args:
        source: the model.
        request: how it is quantized; its calibration data are run, too, where there are no labelled ones.
        data: labelled images, as ``edgeq build`` takes them: training images calibrate, test images are run.
        samples: how many are run, at most.
        progress: shown.

    Raises:
        EdgeqError: FormatError, DataError or ExportError, with the file or node at fault.
    """
    from edgeq.calibrate import load_calibration
    from edgeq.data import load_data, normalize
    from edgeq.onnx_file import load_onnx, shown_source
    from edgeq.pipeline import calibration_samples
    from edgeq.posttraining import input_samples

    shown = progress or Silent()
    model, calibration = load_onnx(source), load_calibration(request.calibration)
    labels = None
    if data is None:
        known, images = input_samples(model, request, calibration, shown)
        run: Mapping[str, NDArray[np.float32]] = {name: array[:samples] for name, array in known.items()}
    else:
        shape = _image_shape(model, data)
        loaded = load_data(data, image_size=shape[1], progress=shown)
        if loaded.input_shape != shape:
            raise DataError("the images do not fit the network", where=data, got=loaded.input_shape, wanted=shape)
        images, name = True, str(model.graph.inputs[0].name)
        known = {name: calibration_samples(loaded, calibration.samples, 0)}
        chosen = _spread(len(loaded.test_images), samples)
        run, labels = {name: normalize(loaded.test_images[chosen]).numpy()}, loaded.test_labels[chosen].numpy()
    return _measure(str(shown_source(source)), model, model.clone(), {}, known, run, labels, request, images, shown)


def build_sensitivity(
    folder: Path, *, data: str | None = None, samples: int = 128, progress: Progress | None = None
) -> Sensitivity:
    """Of a build: its codes against the float weights that they were rounded from, over its test images.

    Args:
        folder: what ``edgeq build`` left.
        data: where the data are now; None: where the recipe says.
        samples: how many test images are run, at most.
        progress: shown.

    Raises:
        FormatError: a file is missing or damaged.
    """
    from edgeq.calibrate import load_calibration
    from edgeq.data import load_data, normalize
    from edgeq.errors import RecipeError
    from edgeq.export.float_onnx import export_float
    from edgeq.models import create_model, load_weights
    from edgeq.pipeline import calibration_samples
    from edgeq.posttraining import ExportRequest
    from edgeq.recipe import load_recipe
    from edgeq.snap import load_grid, put_codes

    shown = progress or Silent()
    if not (folder / "recipe.toml").is_file():
        raise FormatError("is not the folder of an edgeq build", where=folder, wanted="recipe.toml and its files")
    recipe: Recipe = load_recipe(folder / "recipe.toml")
    if recipe.task != "classify":
        raise RecipeError("the table tells accuracies", where=folder, got=f"task {recipe.task}", wanted="classify")
    images: ImageData = load_data(
        data or recipe.data.path,
        image_size=recipe.data.image_size,
        crop=recipe.data.crop,
        unreadable=recipe.data.unreadable,
        progress=shown,
    )
    model = create_model(
        recipe.model, num_classes=len(images.classes), input_shape=images.input_shape, seed=recipe.seed
    )
    load_weights(model, folder / "checkpoint.safetensors")
    exact = export_float(model, [images.input_shape])
    trained, on_grid = load_grid(folder / "grid.safetensors"), copy.deepcopy(model)  # exported models share its memory
    put_codes(on_grid, trained)
    rounded = export_float(on_grid, [images.input_shape])
    calibration = load_calibration(recipe.quantize.calibration)
    name = str(exact.graph.inputs[0].name)
    known = {name: calibration_samples(images, calibration.samples, recipe.seed)}
    chosen = _spread(len(images.test_images), samples)
    run = {name: normalize(images.test_images[chosen]).numpy()}
    request = ExportRequest("", calibration=recipe.quantize.calibration)
    labels = images.test_labels[chosen].numpy()
    return _measure(str(folder), rounded, exact, trained, known, run, labels, request, True, shown)


def _measure(
    source: str,
    model: ir.Model,
    reference: ir.Model,
    trained: Mapping[str, QuantizedWeight],
    known: Mapping[str, NDArray[np.float32]],
    run: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64] | None,
    request: ExportRequest,
    images: bool,
    progress: Progress,
) -> Sensitivity:
    """Quantize one copy, leave the other in float, and compare.

    Raises:
        DataError: the labels are of more classes than the network has outputs.
    """
    from edgeq.artifact import make_artifact
    from edgeq.calibrate import load_calibration
    from edgeq.export.activations import PIXEL_GRID
    from edgeq.export.decompose import decompose
    from edgeq.export.equalize import equalize
    from edgeq.export.fold import fold_untrained
    from edgeq.verify.sensitivity import layer_costs

    calibration = load_calibration(request.calibration)
    decompose(reference)
    fold_untrained(reference, ())
    if calibration.equalize and not trained:
        equalize(reference, ())
    pinned = dict.fromkeys(known, PIXEL_GRID) if images else {}
    artifact = make_artifact(model, trained, known, calibration, pinned=pinned, plan=request.plan, progress=progress)
    if labels is not None:
        _check_classes(reference, labels, source)
    exact, quantized, layers = layer_costs(artifact.qdq, reference, run, labels, progress=progress)
    return Sensitivity(source, len(next(iter(run.values()))), exact, quantized, tuple(layers))


def _check_classes(model: ir.Model, labels: NDArray[np.int64], source: str) -> None:
    shapes = [list(value.shape or ()) for value in model.graph.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or not isinstance(shapes[0][1], int) or shapes[0][1] <= labels.max():
        raise DataError(
            "labels are for a network with one score a class",
            where=source,
            got=f"outputs {', '.join(map(str, shapes))} and {int(labels.max()) + 1} classes",
            remedy="give --calibration-data in place of --data",
        )


def _image_shape(model: ir.Model, data: str) -> tuple[int, int, int]:
    shapes = [tuple(value.shape or ())[1:] for value in model.graph.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 3 and all(isinstance(size, int) for size in shapes[0]):
        channels, height, width = (int(str(size)) for size in shapes[0])
        if height == width:
            return channels, height, width
    raise DataError(
        "labelled images are for a network of one square image",
        where=data,
        got=f"inputs {', '.join(map(str, shapes))}",
        remedy="give --calibration-data in place of --data",
    )


def _spread(total: int, limit: int) -> list[int]:
    """At most so many indices at equal distances, so that each class has its share."""
    return [index * total // limit for index in range(limit)] if limit < total else list(range(total))
