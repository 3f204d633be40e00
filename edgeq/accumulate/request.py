"""From what a user names, a file or a build's folder and data, to an analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.accumulate.analysis import Accumulators, analyse
from edgeq.errors import DataError, FormatError, RecipeError
from edgeq.progress import Progress
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_file

if TYPE_CHECKING:
    from edgeq.data import ImageData

__all__ = ["analyse_artifact"]


def analyse_artifact(
    artifact: Path, *, data: str | None, bits: tuple[int, ...], length: int, samples: int, progress: Progress
) -> Accumulators:
    """As :func:`edgeq.accumulators`.

    Raises:
        EdgeqError: FormatError, RecipeError or DataError, with the file or option at fault.
    """
    file = artifact / "model.tflite" if artifact.is_dir() else artifact
    graph = read_file(file)
    if data is None and not bits:
        return analyse(file, graph, length=length, progress=progress)
    images = _images(artifact, data, graph, progress)
    from edgeq.verify.check import as_file_input

    tensor = graph.tensors[graph.inputs[0]]
    if tensor.dtype not in ("uint8", "int8", "float32"):
        raise FormatError("images are bytes, int8 codes or floats", where=file, got=tensor.dtype)
    io: Any = tensor.dtype
    count = len(images.test_images)
    chosen = [index * count // samples for index in range(samples)] if samples < count else list(range(count))
    return analyse(
        file,
        graph,
        inputs=as_file_input(images.test_images[chosen].numpy(), io),
        labels=images.test_labels[chosen].numpy(),
        bits=bits,
        length=length,
        progress=progress,
    )


def _images(artifact: Path, data: str | None, graph: Graph, progress: Progress) -> ImageData:
    from edgeq.data import load_data
    from edgeq.recipe import load_recipe

    recipe = artifact / "recipe.toml"
    if artifact.is_dir() and recipe.is_file():
        own = load_recipe(recipe).data
        return load_data(
            data or own.path,
            image_size=own.image_size,
            crop=own.crop,
            cache=own.cache,
            unreadable=own.unreadable,
            progress=progress,
        )
    if data is None:
        raise RecipeError("widths are tried on images", where="--bits", got=artifact, remedy="give --data, too")
    shape = graph.tensors[graph.inputs[0]].shape if graph.inputs else ()
    if len(shape) != 4 or shape[1] != shape[2]:
        raise DataError("labelled images are for a network of one square image", where=data, got=shape)
    return load_data(data, image_size=shape[1], progress=progress)
