"""Packed afterwards is packed at once; what is compared is what the files hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from conftest import Build

from edgeq.cli.options import recipe_from_options
from edgeq.errors import VerifyError
from edgeq.pipeline import build
from edgeq.recipe import QuantizeRecipe, Recipe
from edgeq.reproduce.storage import compare_storage, pack_build
from edgeq.snap import load_grid, save_grid


@pytest.fixture(scope="module")
def ternary(built: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    options = {"model": f"{built.nets}:small", "data": built.images, "epochs": 1, "batch_size": 8, "bits": 2}
    recipe, out = recipe_from_options(None, options), tmp_path_factory.mktemp("ternary") / "out"
    build(recipe, out)
    return recipe, out


def test_a_build_packed_afterwards_is_the_build_with_packed(ternary: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, out = ternary
    build(dataclasses.replace(recipe, quantize=QuantizeRecipe(packed=True)), tmp_path / "at-once")
    packed = pack_build(out)
    assert packed.tflite == (tmp_path / "at-once" / "model.tflite").read_bytes()
    assert packed.onnx == (tmp_path / "at-once" / "model.onnx").read_bytes()


def test_size_falls_with_the_bits_and_what_does_not_pack_has_a_reason(
    ternary: tuple[Recipe, Path], built: Build
) -> None:
    whole, plain, packed = compare_storage({8: built.out, 2: ternary[1]})
    assert (whole.packed, plain.packed, packed.packed) == (False, False, True)
    assert plain.weights == {"int8": 5}
    assert packed.weights == {"int4": 3, "int2": 2}
    assert packed.reasons == (
        "LiteRT's CONV_2D takes no weights of 2 bits",
        "LiteRT's DEPTHWISE_CONV_2D takes no weights of 2 bits",
    )
    assert packed.tflite_bytes < plain.tflite_bytes
    assert packed.onnx_bytes < plain.onnx_bytes
    assert whole.latency_ratio == 1
    assert packed.latency_ms > 0


def test_codes_that_are_not_those_of_the_files_are_found(ternary: tuple[Recipe, Path], tmp_path: Path) -> None:
    for name in ("model.onnx", "manifest.json", "labels.txt", "recipe.toml"):
        (tmp_path / name).write_bytes((ternary[1] / name).read_bytes())
    grid = load_grid(ternary[1] / "grid.safetensors")
    codes = grid["fc1"].codes.copy()
    codes[0, 0] = codes[0, 0] % 2 - 1 if codes[0, 0] else 1
    save_grid(grid | {"fc1": dataclasses.replace(grid["fc1"], codes=codes)}, tmp_path / "grid.safetensors")
    with pytest.raises(VerifyError, match="fc1"):
        pack_build(tmp_path)
