"""Modes through a recipe: what the files compute in, which weights are on which grid, and what is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import Build, Ended
from docs_pages import check_manifest
from safetensors.numpy import load_file

from edgeq.recipe import load_recipe
from edgeq.snap import load_grid

Run = Callable[..., Ended]

CASES: dict[
    str, tuple[str, list[str], dict[str, int], str]
] = {  # recipe, options, bits by layer, type of conv2's input
    "float32": ('[quantize]\nmode = "float32"\n', [], {}, "float32"),
    "int16": ("", ["--mode", "int16"], dict.fromkeys(("conv1", "depthwise", "conv2", "fc1", "fc2"), 8), "int16"),
    "mixed": (
        '[layers]\n"conv2" = "float32"\nfc1 = "float32"\n',
        ["--layer", "fc1=int16"],
        dict.fromkeys(("conv1", "depthwise", "fc1", "fc2"), 8),
        "float32",
    ),
    "packed": (
        'bits = 4\n[quantize]\npacked = true\n[layers]\nconv1 = 8\n"fc?" = { mode = "dynamic" }\n',
        [],
        {"conv1": 8, "depthwise": 4, "conv2": 4, "fc1": 4, "fc2": 4},
        "int8",
    ),
    "straight-through": (
        'bits = 4\nmethod = "straight-through"\n[layers]\nconv1 = 8\nfc2 = "float16"\n',
        [],
        {"conv1": 8, "depthwise": 4, "conv2": 4, "fc1": 4},
        "int8",
    ),
}


def once(built: Build) -> list[str]:
    return [*built.arguments, "--model", f"{built.nets}:small", "--epochs", "1"]


def tensors(folder: Path) -> list[dict[str, Any]]:
    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=1)
    details: list[dict[str, Any]] = interpreter.get_tensor_details()
    return details


@pytest.mark.parametrize("name", CASES)
def test_a_build_is_of_the_modes_of_its_recipe(built: Build, tmp_path: Path, edgeq: Run, name: str) -> None:
    text, options, bits, kind = CASES[name]
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(text)
    ended = edgeq("build", *once(built), "--recipe", recipe, *options, "--out", out, "--json")
    assert ended.code == 0, ended.err
    manifest = json.loads(ended.out)
    check_manifest(manifest)
    mode = name if name in ("float32", "int16") else "int8"
    assert (manifest["mode"], manifest["recipe"]["quantize"]["mode"]) == (mode, mode)
    assert {row["name"]: row["bits"] for row in manifest["layers"]} == bits
    grids = load_grid(out / "grid.safetensors")
    assert {layer: weight.grid.bits for layer, weight in grids.items()} == bits
    assert manifest["parity"]["codes_kept"] == sum(weight.codes.size for weight in grids.values())
    weights = load_file(out / "checkpoint.safetensors")
    stored = [detail for detail in tensors(out) if detail["shape"].tolist() == [5, 1, 3, 6]]
    assert {np.dtype(detail["dtype"]).name for detail in stored} == {"float32" if "conv2" not in bits else "int8"}
    assert weights["conv2.weight"].shape == (5, 6, 1, 3)
    assert kind in {np.dtype(detail["dtype"]).name for detail in tensors(out)}
    assert f"LiteRT, {mode}" in (out / "report.html").read_text()
    resolved = load_recipe(out / "recipe.toml")
    assert resolved.quantize.io == ("uint8" if mode == "int8" else "float32")
    again = edgeq("verify", out, "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["accuracy"]["tflite"] == manifest["accuracy"]["tflite"]


def test_packed_codes_take_half_the_bytes(built: Build, tmp_path: Path, edgeq: Run) -> None:
    sizes = []
    for options in ([], ["--packed"]):
        ended = edgeq("build", *once(built), "--bits", 4, *options, "--out", tmp_path / "out", "--json")
        assert ended.code == 0, ended.err
        sizes.append((tmp_path / "out" / "model.onnx").stat().st_size)
        codes = json.loads(ended.out)["parity"]["codes"]
    assert sizes[0] - sizes[1] > codes / 3


def test_a_layer_that_stays_float_is_left_alone(built: Build, tmp_path: Path, edgeq: Run) -> None:
    """With a pull to 4 bits of all its strength, all others come to their grids, one of 8 bits among them."""
    pull = ("--bits", 4, "--layer", "conv2=float32", "--layer", "fc1=8")
    ended = edgeq("build", *once(built), *pull, "--out", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    distances = {row["name"]: row["distance"] for row in json.loads(ended.out)["layers"]}
    assert distances.keys() == {"conv1", "depthwise", "fc1", "fc2"}
    assert max(distances.values()) < 0.05
    weight = load_file(tmp_path / "out" / "checkpoint.safetensors")["conv2.weight"]
    place = 7 * weight / np.abs(weight).max()
    assert np.abs(place - place.round()).mean() > 0.15


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--mode", "float32", "--io", "uint8"), "a file of mode float32 has no uint8 ends"),
        (("--mode", "int16", "--android"), "the Android app takes a camera's bytes"),
        (("--packed",), "no weights are of 4 bits or fewer"),
        (("--packed", "--bits", "4", "--mode", "float16"), "no weights are of 4 bits or fewer"),
        (("--layer", "conv3=float32"), "no layer has this name"),
        (("--layer", "conv1=float23"), "unknown mode"),
        (("--layer", "conv1=9"), "do not fit int8"),
    ],
)
def test_what_makes_no_sense_is_told_before_the_training(
    built: Build, tmp_path: Path, edgeq: Run, options: tuple[str, ...], told: str
) -> None:
    ended = edgeq("build", *built.arguments, "--epochs", 1000, *options, "--out", tmp_path / "out")
    assert ended.code == 1
    assert told in ended.error
    assert not (tmp_path / "out").exists()
