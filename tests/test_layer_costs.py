from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from int8_models import float_proto, weights
from safetensors.torch import save_file

import edgeq
from edgeq.cli.main import cli
from edgeq.errors import DataError, FormatError, RecipeError
from edgeq.grid import Grid
from edgeq.models import create_model
from edgeq.recipe import Recipe, recipe_to_toml
from edgeq.snap import save_grid, snap

BODY = """
    a = Conv <strides = [4, 4]> (x, "one.weight", b1)
    b = Relu (a)
    g = GlobalAveragePool (b)
    h = Flatten (g)
    y = Gemm <transB = 1> (h, "two.weight", b2)
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    constants = {
        "one.weight": weights(8, 3, 4, 4),
        "b1": weights(8),
        "two.weight": weights(10, 8),
        "b2": weights(10),
    }
    path = tmp_path / "float.onnx"
    path.write_bytes(float_proto(BODY, constants, {"x": (1, 3, 32, 32)}).SerializeToString())
    return path


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", inputs=np.random.default_rng(0).uniform(-1, 1, (6, 3, 32, 32)).astype(np.float32))
    return tmp_path / "x.npz"


def test_a_model_over_arrays(model: Path, arrays: Path) -> None:
    result = edgeq.sensitivity(model, calibration_data=arrays, bits=4)
    assert (result.samples, result.exact.noise, result.exact.accuracy) == (6, 0, None)
    assert {row.name for row in result.layers} > {"x", "one", "two"}
    assert result.quantized.noise > 0
    noises = [row.alone.noise for row in result.layers]
    assert noises == sorted(noises, reverse=True)


def test_the_command_gives_accuracies_and_json(model: Path) -> None:
    arguments = ["sensitivity", str(model), "--data", "digits", "--samples", "12"]
    shown = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "it alone quantized" in shown.output
    assert "float: " in shown.output
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert found["samples"] == 12
    assert all(0 <= row["alone"]["accuracy"] <= 100 for row in found["layers"])
    assert {"name", "operation", "alone", "rest"} == found["layers"][0].keys()


def test_corrections_are_measured_too(model: Path, arrays: Path) -> None:
    """The float side is the network as it was; with 3 bits the corrected biases take noise away."""
    plain = edgeq.sensitivity(model, calibration_data=arrays, bits=3)
    corrected = edgeq.sensitivity(model, calibration_data=arrays, bits=3, calibration="equalized")
    assert corrected.exact.noise == 0
    assert corrected.quantized.noise < plain.quantized.noise


def test_a_folder_with_codes(tmp_path: Path) -> None:
    network = create_model("lenet5", num_classes=10, input_shape=(3, 32, 32), seed=0)
    save_file(
        {name: value.clone() for name, value in network.state_dict().items()}, tmp_path / "checkpoint.safetensors"
    )
    save_grid(snap(network, Grid(2)), tmp_path / "grid.safetensors")
    (tmp_path / "recipe.toml").write_text(recipe_to_toml(Recipe(model="lenet5", bits=2)))
    with torch.random.fork_rng():
        result = edgeq.sensitivity(tmp_path, samples=8)
    assert result.exact.accuracy is not None
    assert sum(row.operation in ("Conv", "Gemm") for row in result.layers) == len(snap(network, Grid(2)))
    assert max(row.alone.noise for row in result.layers) > 0.01  # of 2 bits: the float side is not on the grid


def test_what_does_not_fit_is_told(model: Path, arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs data"):
        edgeq.sensitivity(model)
    with pytest.raises(RecipeError, match="needs data"):
        edgeq.sensitivity(model, data="digits", calibration_data=arrays)
    with pytest.raises(RecipeError, match="a build has its own"):
        edgeq.sensitivity(tmp_path, bits=4)
    with pytest.raises(FormatError, match="not the folder of an edgeq build"):
        edgeq.sensitivity(tmp_path)
    tokens = float_proto("y = Relu (x)", {}, {"x": (1, 4, 6)})
    with pytest.raises(DataError, match="one square image"):
        edgeq.sensitivity(tokens, data="digits")
    images = float_proto("y = Relu (x)", {}, {"x": (1, 3, 32, 32)})
    with pytest.raises(DataError, match="one score a class"):
        edgeq.sensitivity(images, data="digits", samples=4)
