from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from int8_models import artifact_of, float_model, weights

from edgeq.artifact import tflite_bytes
from edgeq.errors import ExportError
from edgeq.tflite.metadata import ImageClassifier, minimum_runtime_version
from edgeq.tflite.model import Graph, Operator
from edgeq.tflite.read import read_graph
from edgeq.verify.litert import run

LABELS = ("cat", "dog", "Göteborgs hjärta")


def classifier_graph(channels: int = 3) -> Graph:
    body = "c = Conv (x, w)\n g = GlobalAveragePool (c)\n f = Flatten (g)\n y = Gemm <transB = 1> (f, v)"
    constants = {"w": weights(4, channels, 2, 3), "v": weights(3, 4)}
    model = float_model(body, constants, {"x": (1, channels, 5, 7)})
    return artifact_of(model, io="uint8", head="softmax").conversion.graph


@pytest.fixture(scope="module")
def content() -> bytes:
    return tflite_bytes(classifier_graph(), ImageClassifier("net", LABELS, mean=127.5, std=64.0))


class Table:
    """A table of any flatbuffer, by the format's own rules: https://flatbuffers.dev/internals."""

    def __init__(self, content: bytes, position: int) -> None:
        self.content, self.position = content, position
        self.vtable = position - struct.unpack_from("<i", content, position)[0]

    def field(self, number: int) -> int:
        """Where a field is stored, 0 if it is not."""
        slot = 4 + 2 * number
        if slot >= struct.unpack_from("<H", self.content, self.vtable)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self.content, self.vtable + slot)[0]
        return self.position + offset if offset else 0

    def target(self, number: int) -> int:
        position = self.field(number)
        assert position, f"field {number} is missing"
        offset: int = struct.unpack_from("<I", self.content, position)[0]
        return position + offset

    def table(self, number: int) -> Table:
        return Table(self.content, self.target(number))

    def tables(self, number: int) -> list[Table]:
        start = self.target(number)
        count = struct.unpack_from("<I", self.content, start)[0]
        places = range(start + 4, start + 4 + 4 * count, 4)
        return [Table(self.content, place + struct.unpack_from("<I", self.content, place)[0]) for place in places]

    def floats(self, number: int) -> list[float]:
        start = self.target(number)
        count = struct.unpack_from("<I", self.content, start)[0]
        return list(struct.unpack_from(f"<{count}f", self.content, start + 4))

    def text(self, number: int) -> str:
        start = self.target(number)
        size = struct.unpack_from("<I", self.content, start)[0]
        assert self.content[start + 4 + size] == 0, "strings end in a zero byte"
        return self.content[start + 4 : start + 4 + size].decode()

    def byte(self, number: int) -> int:
        position = self.field(number)
        return self.content[position] if position else 0


def metadata(content: bytes) -> Table:
    raw = read_graph(content).metadata["TFLITE_METADATA"]
    assert raw[4:8] == b"M001"
    return Table(raw, struct.unpack_from("<I", raw)[0])


# Field numbers, enumerators and unions: tensorflow/tflite-support, metadata/metadata_schema.fbs.
def test_the_model_is_named(content: bytes) -> None:
    root = metadata(content)
    assert root.text(0) == "net"
    assert "3 classes" in root.text(1)
    assert root.text(7) == "1.0.0"
    assert len(root.tables(3)) == 1


def test_the_input_is_an_rgb_image_with_its_normalization(content: bytes) -> None:
    (image,) = metadata(content).tables(3)[0].tables(2)
    assert image.text(0) == "x"
    assert image.table(3).byte(0) == 2  # ContentProperties.ImageProperties
    assert image.table(3).table(1).byte(0) == 1  # ColorSpaceType.RGB
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1  # ProcessUnitOptions.NormalizationOptions
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([127.5], [64.0])
    assert (image.table(5).floats(0), image.table(5).floats(1)) == ([255.0], [0.0])


def test_one_channel_is_grey() -> None:
    content = tflite_bytes(classifier_graph(1), ImageClassifier("net", LABELS))
    (image,) = metadata(content).tables(3)[0].tables(2)
    assert image.table(3).table(1).byte(0) == 2  # ColorSpaceType.GRAYSCALE


def test_the_output_names_its_labels_file(content: bytes) -> None:
    (scores,) = metadata(content).tables(3)[0].tables(3)
    assert scores.text(0) == "scores"
    assert scores.table(3).byte(0) == 1  # ContentProperties.FeatureProperties
    (file,) = scores.tables(6)
    assert file.text(0) == "labels.txt"
    assert file.byte(2) == 2  # AssociatedFileType.TENSOR_AXIS_LABELS


def test_the_file_is_a_zip_of_its_labels_too(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [entry.compress_type for entry in archive.infolist()] == [zipfile.ZIP_STORED]
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)


def test_the_file_still_runs_and_is_the_same_when_written_again(content: bytes) -> None:
    graph = classifier_graph()
    info = ImageClassifier("net", LABELS, mean=127.5, std=64.0)
    assert tflite_bytes(graph, info) == content
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    np.testing.assert_array_equal(
        run(content, [images], workers=1)[0], run(tflite_bytes(graph, None), [images], workers=1)[0]
    )


def test_labels_can_be_read_from_memory_behind_a_large_model(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["labels.txt"]


def test_the_least_runtime_is_that_of_the_newest_operation(content: bytes) -> None:
    assert read_graph(content).metadata["min_runtime_version"].rstrip(b"\\0").startswith(b"1.14.0")
    operators = (Operator("CONV_2D", (0,), (1,), version=3), Operator("HARD_SWISH", (1,), (2,)))
    assert minimum_runtime_version(Graph((), operators, (), ())) == "1.15.0"
    assert minimum_runtime_version(Graph((), (Operator("CONV_2D", (), (), version=6), *operators), (), ())) == "2.9.0"


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "tab\there"])
def test_a_label_that_is_no_line_is_refused(label: str) -> None:
    with pytest.raises(ExportError, match=r"labels\.txt"):
        ImageClassifier("net", ("cat", label))
