"""The libraries through which apps classify images, as their Python packages run them: the C++ is that of Android."""

from __future__ import annotations

import json
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from package_folders import needs_packages, package_folder, run_script

__all__ = ["LIBRARIES", "MEDIAPIPE", "TASK_LIBRARY", "AppLibrary"]

CLASSIFY_MEDIAPIPE = """
import json, sys
import numpy as np
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision

options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
with vision.ImageClassifier.create_from_options(options) as classifier:
    for pixels in np.load(sys.argv[2]):
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        (head,) = classifier.classify(image).classifications
        print(json.dumps([[found.index, found.category_name, found.score] for found in head.categories]))
"""

CLASSIFY_TASK_LIBRARY = """
import json, sys
import numpy as np
from tflite_support.task import vision

classifier = vision.ImageClassifier.create_from_file(sys.argv[1])
for pixels in np.load(sys.argv[2]):
    image = vision.TensorImage.create_from_array(np.ascontiguousarray(pixels))
    (head,) = classifier.classify(image).classifications
    print(json.dumps([[found.index, found.category_name, found.score] for found in head.categories]))
"""

# MediaPipe 1.2 lacks the C++ that its own reader imports, but has both schemas as flatc compiled them for Python.
READ_MEDIAPIPE = """
import json, sys, zipfile
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata, schema_py_generated as tflite

content = open(sys.argv[1], "rb").read()
model = tflite.ModelT.InitFromPackedBuf(content, 0)
(entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
packed = bytes(model.buffers[entry.buffer].data)
assert metadata.ModelMetadata.ModelMetadataBufferHasIdentifier(packed, 0)
root = metadata.ModelMetadataT.InitFromPackedBuf(packed, 0)
(subgraph,) = root.subgraphMetadata
(image,), (scores,) = subgraph.inputTensorMetadata, subgraph.outputTensorMetadata
(unit,), (file,) = image.processUnits, scores.associatedFiles
assert unit.optionsType == metadata.ProcessUnitOptions.NormalizationOptions
assert image.content.contentPropertiesType == metadata.ContentProperties.ImageProperties
assert file.type == metadata.AssociatedFileType.TENSOR_AXIS_LABELS
print(json.dumps({
    "name": root.name.decode(),
    "description": root.description.decode(),
    "input": image.name.decode(),
    "input description": image.description.decode(),
    "rgb": image.content.contentProperties.colorSpace == metadata.ColorSpaceType.RGB,
    "mean": list(map(float, unit.options.mean)),
    "std": list(map(float, unit.options.std)),
    "range": [*map(float, image.stats.min), *map(float, image.stats.max)],
    "output": scores.name.decode(),
    "output description": scores.description.decode(),
    "labels": zipfile.ZipFile(sys.argv[1]).read(file.name.decode()).decode(),
}))
"""

READ_TASK_LIBRARY = """
import json, sys
from tflite_support import metadata

shown = metadata.MetadataDisplayer.with_model_file(sys.argv[1])
root = json.loads(shown.get_metadata_json())
(subgraph,) = root["subgraph_metadata"]
(image,), (scores,) = subgraph["input_tensor_metadata"], subgraph["output_tensor_metadata"]
(unit,), (file,) = image["process_units"], scores["associated_files"]
assert unit["options_type"] == "NormalizationOptions"
assert image["content"]["content_properties_type"] == "ImageProperties"
assert file["type"] == "TENSOR_AXIS_LABELS"
assert shown.get_packed_associated_file_list() == [file["name"]]
print(json.dumps({
    "name": root["name"],
    "description": root["description"],
    "input": image["name"],
    "input description": image["description"],
    "rgb": image["content"]["content_properties"]["color_space"] == "RGB",
    "mean": unit["options"]["mean"],
    "std": unit["options"]["std"],
    "range": image["stats"]["min"] + image["stats"]["max"],
    "output": scores["name"],
    "output description": scores["description"],
    "labels": shown.get_associated_file_buffer(file["name"]).decode(),
}))
"""


@dataclass(frozen=True)
class AppLibrary:
    """One library.

    Attributes:
        requirements: its packages, with what they need to be imported.
        classifier: a script that prints, for a model and images, index, name and score of every class, a line an image.
        reader: a script that prints what it finds in a model's metadata.
        keeps_ties: whether classes of equal scores come in the order of the labels.
    """

    requirements: tuple[str, ...]
    classifier: str
    reader: str
    keeps_ties: bool

    def classify(self, model: Path, images: NDArray[np.uint8], folder: Path) -> list[list[tuple[int, str, float]]]:
        np.save(folder / "images.npy", images)
        packages = package_folder(self.requirements)
        lines = run_script(self.classifier, packages, model, folder / "images.npy").splitlines()
        return [[(index, name, score) for index, name, score in json.loads(line)] for line in lines]

    def read_metadata(self, model: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run_script(self.reader, package_folder(self.requirements), model))
        return found


MEDIAPIPE = AppLibrary(
    # OpenCV only draws here, and the headless one needs no X11.
    (
        *("mediapipe==1.2.2", "absl-py", "certifi", "flatbuffers", "matplotlib", "numpy", "opencv-python-headless"),
        *("contourpy", "cycler", "fonttools", "kiwisolver", "packaging", "pillow", "pyparsing", "python-dateutil"),
        "six",
    ),
    CLASSIFY_MEDIAPIPE,
    READ_MEDIAPIPE,
    keeps_ties=True,
)
TASK_LIBRARY = AppLibrary(
    ("tflite-support==0.4.4", "absl-py", "cffi", "flatbuffers", "numpy", "protobuf<4", "pybind11", "sounddevice"),
    CLASSIFY_TASK_LIBRARY,
    READ_TASK_LIBRARY,
    keeps_ties=False,
)


def needs_libraries(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not all(map(find_library, names)), reason=f"needs the libraries {', '.join(names)}")


LIBRARIES = [
    pytest.param(MEDIAPIPE, id="mediapipe", marks=[needs_packages, needs_libraries("EGL", "GLESv2")]),
    pytest.param(
        TASK_LIBRARY,
        id="tflite-support",
        marks=[
            needs_packages,
            needs_libraries("usb-1.0"),
            pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="its last release is for Python 3.11 at most"),
        ],
    ),
]
