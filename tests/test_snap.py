from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch import nn

from edgeq.errors import ExportError, FormatError, ModelError
from edgeq.grid import Grid, QuantizedWeight
from edgeq.snap import load_grid, load_ranges, put_codes, quantized_layers, require_exported, save_grid, snap


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, (1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("grid", [Grid(8), Grid(2), Grid(7, "cosine"), Grid(1, "cosine"), Grid(5, "hat")])
def test_snapped_weights_are_codes_times_step_and_the_nearest_such(grid: Grid, per_channel: bool) -> None:
    net = network()
    before = {name: layer.weight.detach().numpy().copy() for name, layer in quantized_layers(net).items()}  # type: ignore[operator]
    table = snap(net, grid, per_channel=per_channel)
    assert list(table) == ["0", "3"]
    for name, weight in table.items():
        values = net.get_submodule(name).weight.detach().numpy()  # type: ignore[operator]
        step = weight.step.reshape(-1, *[1] * (values.ndim - 1))
        np.testing.assert_array_equal(values, weight.codes.astype(np.float32) * step)
        spacing = 2 if grid.function == "cosine" else 1
        assert np.all(np.abs(values - before[name]) <= step * spacing * 0.5001)
        if grid.function == "cosine":
            assert np.all(weight.codes % 2 == 1)


def test_snapping_twice_changes_nothing() -> None:
    net = network()
    first = snap(net, Grid(8))
    second = snap(net, Grid(8))
    for name in first:
        np.testing.assert_array_equal(first[name].codes, second[name].codes)
        np.testing.assert_allclose(first[name].step, second[name].step, rtol=2e-7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_names_its_layer_and_nothing_is_changed(value: float) -> None:
    net = network()
    with torch.no_grad():
        net[3].weight[1, 1] = value  # type: ignore[operator]
    before = net[0].weight.detach().clone()  # type: ignore[operator]
    with pytest.raises(ExportError, match=r"layer 3: .*NaN or infinite .*1 of 48"):
        snap(net, Grid(8))
    assert torch.equal(net[0].weight, before)  # type: ignore[arg-type]


def test_scales_of_unknown_layers_are_refused_by_name_and_nothing_is_changed() -> None:
    net = network()
    before = net[0].weight.detach().clone()  # type: ignore[operator]
    scales = {f"net.{name}": np.ones(1, np.float32) for name in ("0", "3", "4", "5")}
    with pytest.raises(ModelError, match=r"got net\.0, net\.3, net\.4 and 1 more, wanted names such as 0\)"):
        snap(net, Grid(8), scales={"0": np.ones(1, np.float32), **scales})
    assert torch.equal(net[0].weight, before)  # type: ignore[arg-type]


def test_layers_that_share_a_weight_count_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    assert list(quantized_layers(net)) == ["0"]


def test_a_weight_that_is_computed_is_refused_by_name() -> None:
    net = network()
    nn.utils.parametrizations.weight_norm(net[3])
    with pytest.raises(ExportError, match=r"layer 3: .*computed.*remove the parametrization"):
        quantized_layers(net)


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(ExportError, match="no Conv2d or Linear"):
        snap(nn.Sequential(nn.ReLU()), Grid(8))


def test_a_layer_that_the_export_lost_is_named() -> None:
    require_exported(["a"], {"a.weight"})
    with pytest.raises(ExportError, match="layer b"):
        require_exported(["a", "b"], {"a.weight"})


grids = st.sampled_from([Grid(bits) for bits in range(2, 9)] + [Grid(bits, "cosine") for bits in range(1, 8)])


@given(grid=grids, outputs=st.integers(1, 4), per_channel=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_grid_file_is_read_back_as_it_was(
    grid: Grid, outputs: int, per_channel: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(-grid.qmax, grid.qmax + 1, (outputs, 3, 2)).astype(np.int8)
    step = random.uniform(1e-6, 3, outputs if per_channel else 1).astype(np.float32)
    path = tmp_path_factory.getbasetemp() / "grid.safetensors"
    save_grid({"layer1.0.conv": QuantizedWeight(codes, step, grid, 0.1)}, path)
    found = load_grid(path)["layer1.0.conv"]
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.step, step)
    assert found.grid == grid


def test_equal_grids_give_equal_files(tmp_path: Path) -> None:
    table = snap(network(), Grid(4))
    contents = set()
    for number in range(20):
        save_grid(table, tmp_path / f"{number}.safetensors")
        contents.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(contents) == 1


def test_a_grid_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be written"):
        save_grid(snap(network(), Grid(4)), tmp_path / "none" / "grid.safetensors")


def layer(**changed: Any) -> dict[str, Any]:
    tensors = {"a.codes": np.ones((3, 2), np.int8), "a.step": np.ones(1, np.float32)}
    return {name: value for name, value in (tensors | changed).items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "header", "told"),
    [
        ({"b.weight": np.ones(2, np.float32)}, {}, "has no layer"),
        ({}, {"grid": "8 bits sine [1"}, "has a bad header"),
        ({}, {"grid": '8 bits sine {"a": 9}'}, "has a bad header"),
        ({}, {"grid": '8 bits sine {"a"'}, "has a bad header"),
        (layer(**{"a.step": None}), {}, "a: a layer has no int8 codes with a float32 step"),
        (layer(**{"a.codes": np.ones((3, 2), np.int16)}), {}, "no int8 codes"),
        (layer(**{"a.codes": np.ones((), np.int8)}), {}, "no int8 codes"),
        (layer(**{"a.step": np.ones(2, np.float32)}), {}, "does not fit its codes"),
        (layer(**{"a.step": np.array([np.nan], np.float32)}), {}, "not positive and finite"),
        (layer(**{"a.step": np.zeros(1, np.float32)}), {}, "not positive and finite"),
        (layer(**{"a.codes": np.full((3, 2), -128, np.int8)}), {}, "outside the grid"),
        (layer(**{"a.codes": np.full((3, 2), 8, np.int8)}), {"grid": "4 bits sine"}, "outside the grid"),
        (layer(), {"grid": "many bits sine"}, "bad header"),
        (layer(), {"grid": "99 bits sine"}, "bad header"),
        (layer(), {"grid": "8 bits square"}, "bad header"),
    ],
)
def test_a_bad_grid_file_is_refused(tmp_path: Path, tensors: Any, header: dict[str, str], told: str) -> None:
    path = tmp_path / "grid.safetensors"
    save_file(tensors, path, metadata=header)
    with pytest.raises(FormatError, match=re.escape(told)) as caught:
        load_grid(path)
    assert "grid.safetensors" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}", b"x" * 100, b"\xff" * 100])
def test_a_damaged_grid_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "grid.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"grid\.safetensors"):
        load_grid(path)


def test_codes_go_into_the_network_they_are_of_only() -> None:
    table = snap(network(), Grid(4))
    net = network()
    put_codes(net, table)
    np.testing.assert_array_equal(net[0].weight.detach().numpy(), table["0"].values)  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"layer 0: .*another network"):
        put_codes(nn.Sequential(nn.Conv2d(1, 1, 1)), table)


def test_ranges_of_activations_are_kept_exactly_and_bad_ones_refused(tmp_path: Path) -> None:
    path, ranges = tmp_path / "grid.safetensors", {"layer1.0.relu": (0.0, 1 / 3), "logits": (-2.5, 7.1)}
    save_grid({}, path, ranges=ranges)
    assert load_ranges(path) == ranges
    for bad in ((1.0, 0.0), (0.0, float("nan")), (1.0,)):
        save_grid({}, path, ranges={"logits": bad})  # type: ignore[dict-item]
        with pytest.raises(FormatError, match="range is not one"):
            load_ranges(path)
