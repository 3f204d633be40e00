"""MediaPipe Tasks and the TFLite Task library take the built file as it is: scores, labels, metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from app_libraries import LIBRARIES, AppLibrary
from conftest import Build, Ended

from edgeq.data import load_data
from edgeq.verify.litert import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that knows most of the ten digits."""
    from edgeq.cli.options import recipe_from_options
    from edgeq.pipeline import build

    out = tmp_path_factory.mktemp("digits") / "out"
    build(recipe_from_options(None, {"model": "lenet5", "data": "digits", "epochs": 2, "batch_size": 32}), out)
    return out


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_classifies_as_litert_does(library: AppLibrary, digits: Path, tmp_path: Path) -> None:
    """Every image of the test set: the same scores for the same names, and the likeliest first."""
    model = digits / "model.tflite"
    data = load_data("digits")
    images = np.ascontiguousarray(data.test_images.numpy().transpose(0, 2, 3, 1))
    (wanted,) = run(model.read_bytes(), [images])
    found = library.classify(model, images, tmp_path)
    assert len(found) == len(images) == 359
    for classes, scores in zip(found, wanted, strict=True):
        assert {name: 256 * score for _, name, score in classes} == dict(zip(data.classes, scores, strict=True))
        assert all(data.classes[index] == name for index, name, _ in classes)
    top = np.array([classes[0][0] for classes in found])
    likeliest = wanted == wanted.max(1, keepdims=True)
    assert likeliest[np.arange(len(top)), top].all()
    clear = np.full(len(top), True) if library.keeps_ties else likeliest.sum(1) == 1
    np.testing.assert_array_equal(top[clear], wanted.argmax(1)[clear])
    assert (top == data.test_labels.numpy()).mean() > 0.8, "the network has learned nothing to compare"


@pytest.mark.parametrize("library", LIBRARIES)
def test_its_reader_finds_names_normalization_and_labels(library: AppLibrary, built: Build) -> None:
    """A path of the machine that built it is not among them."""
    assert library.read_metadata(built.out / "model.tflite") == {
        "name": "signed on images",
        "description": "Classifies images into 2 classes. Made by edgeq.",
        "input": "input",
        "input description": "Image of 12 x 12 pixels; (pixel - 128) / 128 is done inside the model.",
        "rgb": True,
        "mean": [128.0],
        "std": [128.0],
        "range": [0.0, 255.0],
        "output": "scores",
        "output description": "The softmax scores of 2 classes, in the order of labels.txt.",
        "labels": (built.out / "labels.txt").read_text(),
    }


@pytest.mark.parametrize("library", LIBRARIES[:1])
def test_mediapipe_refuses_bare_logits(
    library: AppLibrary, built: Build, tmp_path: Path, edgeq: Callable[..., Ended]
) -> None:
    """Why the default is ``--io uint8``: an int8 input is none of its."""
    out = tmp_path / "out"
    assert edgeq("build", *built.arguments, "--io", "int8", "--out", out).code == 0
    with pytest.raises(AssertionError, match=r"input tensor.*uint8/float32, got INT8"):
        library.classify(out / "model.tflite", np.zeros((1, 12, 12, 3), np.uint8), tmp_path)
