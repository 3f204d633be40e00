from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from conftest import Build, Ended
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from safetensors.numpy import load_file

from edgeq.pipeline import build
from edgeq.recipe import DataRecipe, Recipe, RegularizerRecipe, TrainRecipe, load_recipe

FILES = {
    "checkpoint.safetensors",
    "golden.npz",
    "grid.safetensors",
    "labels.txt",
    "manifest.json",
    "model.onnx",
    "model.tflite",
    "recipe.toml",
    "report.html",
    "report.json",
}
REPEATED = ("model.tflite", "model.onnx", "checkpoint.safetensors", "grid.safetensors", "golden.npz", "recipe.toml")


def read_manifest(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def in_pytorch_layout(name: str, codes: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What lies in a .tflite file, turned back by hand: OHWI, 1HWO for depthwise, columns in HWC after a flatten."""
    if name == "depthwise":
        return codes.transpose(3, 0, 1, 2)
    if name.startswith("conv"):
        return codes.transpose(0, 3, 1, 2)
    return codes.reshape(-1, 3, 2, 5).transpose(0, 3, 1, 2).reshape(shape) if name == "fc1" else codes


def integers_of(out: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """By layer: codes and scales of the TFLite file as LiteRT reads them, codes and scales of the ONNX file."""
    grid = load_file(out / "grid.safetensors")
    interpreter = Interpreter(
        model_path=str(out / "model.tflite"), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(out / "model.onnx").graph.initializer}
    found = {}
    for layer in [name.removesuffix(".codes") for name in grid if name.endswith(".codes")]:
        detail = details[f"{layer}.weight"]
        codes = interpreter.get_tensor(detail["index"])
        shape = grid[f"{layer}.codes"].shape
        name = next(name for name in stored if name.startswith(f"{layer}.weight") and stored[name].dtype == np.int8)
        scale = next(stored[key] for key in stored if key.startswith(f"{layer}.weight") and key.endswith("_scale"))
        found[layer] = (
            in_pytorch_layout(layer, codes, shape),
            detail["quantization_parameters"]["scales"],
            stored[name],
            scale,
        )
    return found


def check_integers(out: Path) -> int:
    """Every channel of every layer: the trained codes, or their negative, or silenced."""
    grid = load_file(out / "grid.safetensors")
    signs = set()
    for layer, (tflite, tflite_scale, onnx_codes, onnx_scale) in integers_of(out).items():
        np.testing.assert_array_equal(tflite, onnx_codes)
        np.testing.assert_array_equal(np.broadcast_to(onnx_scale, tflite_scale.shape), tflite_scale)
        for channel, trained in enumerate(grid[f"{layer}.codes"]):
            found = tflite[channel]
            if not found.any() and trained.any():
                assert np.broadcast_to(tflite_scale, len(tflite))[channel] == 1
                signs.add(0)
            else:
                sign = 1 if np.array_equal(found, trained) else -1
                np.testing.assert_array_equal(found, sign * trained)
                signs.add(sign)
    return len(signs)


def test_the_folder_holds_what_the_design_says(built: Build) -> None:
    assert {path.name for path in built.out.iterdir()} == FILES | {"checkpoints", "logs"}
    assert (built.out / "labels.txt").read_text() == "above\nbelow\n"
    assert [path.name for path in built.out.parent.iterdir() if path.name.startswith(".")] == []


def test_the_manifest_has_every_key_of_the_design(built: Build) -> None:
    manifest = read_manifest(built.out)
    assert manifest["schema"] == 1
    assert isinstance(manifest["edgeq"], str)
    assert {"torch", "onnxruntime", "ai-edge-litert"} <= manifest["versions"].keys()
    assert manifest["recipe"]["train"]["epochs"] == 2
    assert manifest["seed"] == 0
    assert manifest["data"].keys() == {"name", "train", "test", "sha256"}
    assert (manifest["data"]["train"], manifest["data"]["test"]) == (48, 40)
    accuracy = manifest["accuracy"]
    assert accuracy["samples"] == 40
    assert all(0 <= accuracy[name] <= 100 for name in ("float", "snapped", "onnx", "tflite"))
    assert [layer["name"] for layer in manifest["layers"]] == ["conv1", "depthwise", "conv2", "fc1", "fc2"]
    for layer in manifest["layers"]:
        assert layer.keys() == {"name", "shape", "bits", "step", "codes_sha256", "distance"}
        assert layer["bits"] == 8
        assert len(layer["step"]) == 1
        assert 0 <= layer["distance"] <= 0.5
    parity = manifest["parity"]
    assert parity["samples"] == 40
    assert parity["max_code_difference"] in (0, 1)
    assert 0 <= parity["top1_agreement"] <= 100
    assert {"name", "seconds", "peak_rss_mb"} == manifest["stages"][0].keys()
    assert [stage["name"] for stage in manifest["stages"]] == [
        "data",
        "model",
        "train",
        "snap",
        "export",
        "verify",
        "report",
    ]
    assert manifest["bench"] == []


def test_the_fingerprints_of_the_manifest_are_right(built: Build) -> None:
    manifest = read_manifest(built.out)
    artifacts = {item["path"]: item for item in manifest["artifacts"]}
    assert artifacts.keys() == FILES - {"manifest.json"}
    for name, item in artifacts.items():
        content = (built.out / name).read_bytes()
        assert (item["bytes"], item["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    codes = load_file(built.out / "grid.safetensors")
    for layer in manifest["layers"]:
        stored = codes[f"{layer['name']}.codes"]
        assert layer["codes_sha256"] == hashlib.sha256(stored.tobytes()).hexdigest()
        assert layer["shape"] == list(stored.shape)
        assert np.float32(layer["step"]) == codes[f"{layer['name']}.step"]


def test_the_recipe_in_the_folder_is_resolved(built: Build) -> None:
    recipe = load_recipe(built.out / "recipe.toml")
    assert recipe.train.flip is True
    assert recipe.regularizer.amplitude == 1e-5, "what 8 bits ask for"
    assert json.loads(json.dumps(dataclasses.asdict(recipe))) == read_manifest(built.out)["recipe"]


def test_every_trained_integer_is_in_both_files(built: Build) -> None:
    assert check_integers(built.out) >= 2, "gammas of both signs were trained"


def test_golden_outputs_are_what_litert_gives(built: Build) -> None:
    golden = np.load(built.out / "golden.npz")
    assert golden["inputs"].shape == (16, 12, 12, 3)
    assert golden["inputs"].dtype == np.uint8
    assert golden["outputs"].shape == (16, 2)
    interpreter = Interpreter(model_path=str(built.out / "model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    for image, scores in zip(golden["inputs"], golden["outputs"], strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0], scores)


def test_the_labels_are_inside_the_file(built: Build) -> None:
    with zipfile.ZipFile(built.out / "model.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == ["above", "below"]


def test_a_second_build_is_equal_to_the_byte(built: Build, tmp_path: Path) -> None:
    """The recipe that the first one left is enough to do it again."""
    build(load_recipe(built.out / "recipe.toml"), tmp_path / "again")
    for name in REPEATED:
        assert (tmp_path / "again" / name).read_bytes() == (built.out / name).read_bytes(), name


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_other_ends_of_the_file(built: Build, tmp_path: Path, edgeq: Callable[..., Ended], io: str) -> None:
    """Logits instead of scores; the same weights, as the training does not know of it."""
    ended = edgeq("build", *built.arguments, "--io", io, "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["recipe"]["quantize"]["io"] == io
    detail = Interpreter(model_path=str(tmp_path / "out" / "model.tflite")).get_input_details()[0]
    assert detail["dtype"] == np.dtype(io).type
    assert (tmp_path / "out" / "grid.safetensors").read_bytes() == (built.out / "grid.safetensors").read_bytes()
    check_integers(tmp_path / "out")


def test_negative_and_zero_gammas_keep_the_integers(built: Build, tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    """An export of the trained grid with the gammas that ``signed`` starts with: +, -, 0 and -0."""
    calibration = tmp_path / "calibration.npz"
    np.savez(calibration, inputs=np.random.default_rng(0).uniform(-1, 1, (9, 3, 12, 12)).astype(np.float32))
    ended = edgeq(
        *("export", "--model", f"{built.nets}:signed", "--input-shape", "3,12,12", "--out", tmp_path / "out"),
        *("--grid", built.out / "grid.safetensors", "--calibration-data", calibration, "--json"),
    )
    assert ended.code == 0, ended.err
    assert check_integers(tmp_path / "out") == 3, "kept, negated and silenced channels"
    manifest = json.loads(ended.out)
    assert manifest["parity"]["codes_kept"] == manifest["parity"]["codes"] > 0
    kept, trained = (load_file(folder / "grid.safetensors") for folder in (tmp_path / "out", built.out))
    for name, values in trained.items():
        np.testing.assert_array_equal(kept[name], values)


def test_a_build_can_start_from_the_weights_of_another(
    built: Build, tmp_path: Path, edgeq: Callable[..., Ended]
) -> None:
    still = ("--epochs", 1, "--learning-rate", 1e-9, "--amplitude", 0, "--seed", 9)
    checkpoint = built.out / "checkpoint.safetensors"
    assert edgeq("build", *built.arguments, *still, "--init", checkpoint, "--out", tmp_path / "out").code == 0
    before, after = load_file(checkpoint), load_file(tmp_path / "out" / "checkpoint.safetensors")
    for name in ("conv1.weight", "depthwise.weight", "fc2.bias"):
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=1e-6)
    ended = edgeq("build", *built.arguments, "--init", tmp_path / "none.safetensors", "--out", tmp_path / "other")
    assert "none.safetensors: cannot be read" in ended.error
    assert not (tmp_path / "other").exists()


LOUD = """
import torch
from torch import nn


class Loud(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 2, 1), nn.Linear(2, 3)
        levels = torch.tensor([-0.6, 0.0, 0.6])
        self.conv.weight.data = torch.tensor([1.0, gain])[:, None, None, None].expand(2, 3, 1, 1) / 3
        self.fc.weight.data = torch.stack([2 * levels, torch.zeros(3)], 1)
        self.conv.bias.data, self.fc.bias.data = torch.zeros(2), -levels.square()

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


def loud():
    return Loud(1000.0)


def calm():
    return Loud(1.0)
"""


def test_a_file_far_below_its_network_is_told_of(tmp_path: Path) -> None:
    """A channel that nothing needs is a thousand times the one that tells the classes apart."""
    (tmp_path / "loud_nets.py").write_text(LOUD)
    for split, level in itertools.product(("train", "test"), (51, 128, 205)):
        folder = tmp_path / "photos" / split / f"{level:03}"
        folder.mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(number).integers(level - 20, level + 20, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    regularizer, train = RegularizerRecipe(scale="channel"), TrainRecipe(epochs=1, learning_rate=1e-12)
    recipe = Recipe(data=DataRecipe(path=str(tmp_path / "photos")), method="post-training", regularizer=regularizer)
    recipe = dataclasses.replace(recipe, model=f"{tmp_path / 'loud_nets.py'}:loud", train=train)
    loud = build(recipe, tmp_path / "loud")
    assert (loud.accuracy["snapped"], round(loud.accuracy["tflite"])) == (100, 33)
    assert loud.notes == (
        "the file is 66.67 points below the network on its grid: that is its rounded activations; "
        "try --calibration mse or percentile, or train with --activations fake-quantize",
    )
    calm = build(dataclasses.replace(recipe, model=f"{tmp_path / 'loud_nets.py'}:calm"), tmp_path / "calm")
    assert (calm.accuracy["tflite"], calm.notes) == (100, ())
