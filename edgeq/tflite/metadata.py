"""TFLite metadata: what an app's library reads to feed pixels in and get labels out (TFLite Task library, MediaPipe).

A flatbuffer of metadata_schema.fbs goes into the file as the buffer ``TFLITE_METADATA``; the labels follow the model
as an uncompressed zip, so that the file is both. Field numbers are those of the schema: tensorflow/tflite-support,
tensorflow_lite_support/metadata/metadata_schema.fbs, version 1.1.0.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import flatbuffers

from edgeq.errors import ExportError
from edgeq.tflite.model import Graph

__all__ = ["ImageClassifier", "add_metadata", "append_files", "minimum_runtime_version"]

METADATA_NAME = "TFLITE_METADATA"
RUNTIME_VERSION_NAME = "min_runtime_version"
FILE_IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"  # the metadata parser that knows every field used here
LABELS_FILE = "labels.txt"

TENSOR_AXIS_LABELS = 2  # AssociatedFileType
RGB, GRAYSCALE = 1, 2  # ColorSpaceType
FEATURE_PROPERTIES, IMAGE_PROPERTIES = 1, 2  # ContentProperties
NORMALIZATION_OPTIONS = 1  # ProcessUnitOptions

# The first runtime with each (operation, version) that edgeq writes; 1.14.0 where it is not listed.
# Source: tensorflow/lite/tools/versioning/runtime_version.cc.
RUNTIME_VERSIONS = {
    ("RESHAPE", 1): "1.5.0",
    ("HARD_SWISH", 1): "1.15.0",
    ("FULLY_CONNECTED", 5): "2.0.0",
    ("RELU", 2): "2.1.0",
    ("LEAKY_RELU", 2): "2.3.0",
    ("CONV_2D", 6): "2.9.0",
    ("RELU_0_TO_1", 1): "2.10.0",
}


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """What the metadata say of a classifier of images.

    Attributes:
        name: of the model.
        labels: a class each, in the order of the scores.
        mean, std: of the normalization (pixel - mean) / std.
        scores: whether the output is softmax scores rather than logits.
    """

    name: str
    labels: tuple[str, ...]
    mean: float = 128.0
    std: float = 128.0
    scores: bool = True

    def __post_init__(self) -> None:
        for label in self.labels:
            if not label.strip() or any(ord(c) < 32 for c in label):
                raise ExportError("a class name cannot be a line of labels.txt", where="labels", got=repr(label))


def minimum_runtime_version(graph: Graph) -> str:
    """The oldest TFLite runtime that has every operation of the graph."""
    versions = {RUNTIME_VERSIONS.get((op.kind, op.version), "1.14.0") for op in graph.operators}
    return max(versions, key=lambda version: tuple(map(int, version.split("."))), default="1.5.0")


def add_metadata(graph: Graph, info: ImageClassifier) -> Graph:
    """The graph with its metadata buffers; the labels themselves are added to the file by :func:`append_files`."""
    version = minimum_runtime_version(graph).encode().ljust(16, b"\0")  # the schema's tools keep 16 bytes for it
    content = _model_metadata(graph, info)
    return replace(graph, metadata={RUNTIME_VERSION_NAME: version, METADATA_NAME: content}, description=info.name)


def append_files(model: bytes, files: dict[str, bytes]) -> bytes:
    """Put files behind a model as an uncompressed zip with fixed dates; equal input gives equal bytes."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


# --- the flatbuffer ---------------------------------------------------------------------------------------------------


def _model_metadata(graph: Graph, info: ImageClassifier) -> bytes:
    b = flatbuffers.Builder(1024)
    _, height, width, channels = graph.tensors[graph.inputs[0]].shape
    image = _tensor_metadata(
        b,
        graph.input_names[0],
        f"Image of {width} x {height} pixels; (pixel - {info.mean:g}) / {info.std:g} is done inside the model.",
        content=_image_content(b, channels),
        process_units=[_normalization(b, info)],
        stats=_stats(b, 0.0, 255.0),
    )
    labels = _associated_file(b)
    kind = "softmax scores" if info.scores else "logits"
    result = _tensor_metadata(
        b,
        graph.output_names[0],
        f"The {kind} of {len(info.labels)} classes, in the order of {LABELS_FILE}.",
        content=_table(b, (0, "byte", FEATURE_PROPERTIES), (1, "offset", _table(b))),
        stats=_stats(b, 0.0, 1.0) if info.scores else None,
        files=[labels] if info.labels else [],
    )
    subgraph = _table(b, (2, "offset", _offsets(b, [image])), (3, "offset", _offsets(b, [result])))
    root = _table(
        b,
        (0, "offset", b.CreateString(info.name)),
        (1, "offset", b.CreateString(f"Classifies images into {len(info.labels)} classes. Made by edgeq.")),
        (3, "offset", _offsets(b, [subgraph])),
        (7, "offset", b.CreateString(PARSER_VERSION)),
    )
    b.Finish(root, FILE_IDENTIFIER)
    return bytes(b.Output())


def _tensor_metadata(
    b: Any,
    name: str,
    description: str,
    *,
    content: int,
    process_units: Sequence[int] = (),
    stats: int | None = None,
    files: Sequence[int] = (),
) -> int:
    fields = [(0, "offset", b.CreateString(name)), (1, "offset", b.CreateString(description)), (3, "offset", content)]
    if process_units:
        fields.append((4, "offset", _offsets(b, process_units)))
    if stats is not None:
        fields.append((5, "offset", stats))
    if files:
        fields.append((6, "offset", _offsets(b, files)))
    return _table(b, *fields)


def _image_content(b: Any, channels: int) -> int:
    if channels not in (1, 3):
        return _table(b, (0, "byte", FEATURE_PROPERTIES), (1, "offset", _table(b)))
    properties = _table(b, (0, "byte", RGB if channels == 3 else GRAYSCALE))
    return _table(b, (0, "byte", IMAGE_PROPERTIES), (1, "offset", properties))


def _normalization(b: Any, info: ImageClassifier) -> int:
    options = _table(b, (0, "offset", _floats(b, [info.mean])), (1, "offset", _floats(b, [info.std])))
    return _table(b, (0, "byte", NORMALIZATION_OPTIONS), (1, "offset", options))


def _stats(b: Any, low: float, high: float) -> int:
    return _table(b, (0, "offset", _floats(b, [high])), (1, "offset", _floats(b, [low])))


def _associated_file(b: Any) -> int:
    return _table(
        b,
        (0, "offset", b.CreateString(LABELS_FILE)),
        (1, "offset", b.CreateString("The class names, a line each.")),
        (2, "byte", TENSOR_AXIS_LABELS),
    )


def _table(b: Any, *fields: tuple[int, str, int]) -> int:
    b.StartObject(8)
    for slot, kind, value in fields:
        if kind == "byte":
            b.PrependUint8Slot(slot, value, 0)
        else:
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
    return int(b.EndObject())


def _offsets(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: Any, values: Sequence[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())
