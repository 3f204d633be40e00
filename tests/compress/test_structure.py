"""A network whose layers were replaced comes back from its weights' file, and only if the file fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from edgeq.errors import FormatError
from edgeq.models import create_model, load_weights, save_weights
from edgeq.models.structure import note, replace, structure_of


def _network() -> nn.Module:
    return create_model("resnet20", num_classes=3, input_shape=(1, 8, 8), seed=0)


def _changed() -> nn.Module:
    """Two layers in the place of one, and fewer channels inside a block."""
    model = _network()
    replace(model, "layer1.0.conv1", [nn.Conv2d(16, 4, 1, bias=False), nn.Conv2d(4, 9, 3, padding=1, bias=False)])
    replace(model, "layer1.0.bn1", [nn.BatchNorm2d(9)])
    replace(model, "layer1.0.conv2", [nn.Conv2d(9, 16, 3, padding=1, bias=False)])
    return model.eval()


def test_a_changed_network_comes_back_from_its_file(tmp_path: Path) -> None:
    model = _changed()
    save_weights(model, tmp_path / "net.safetensors")
    again = _network().eval()
    load_weights(again, tmp_path / "net.safetensors")
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(model(images), again(images))
    assert structure_of(again) == structure_of(model)
    save_weights(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()


def test_a_layer_changed_in_place_inside_a_replacement_is_noted_there(tmp_path: Path) -> None:
    model = _changed()
    inner = model.get_submodule("layer1.0.conv1")
    assert isinstance(inner, nn.Sequential)
    inner[0] = nn.Conv2d(16, 2, 1, bias=False)
    inner[1] = nn.Conv2d(2, 9, 3, padding=1, bias=False)
    note(model, "layer1.0.conv1.0")
    note(model, "layer1.0.conv1.1")
    save_weights(model, tmp_path / "net.safetensors")
    load_weights(again := _network(), tmp_path / "net.safetensors")
    assert again.get_submodule("layer1.0.conv1.0").weight.shape == (2, 16, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["layer1.0.conv2"][0].update(in_channels=65536, out_channels=65536),
        lambda table: table["layer1.0.conv2"][0].update(type="LSTM"),
        lambda table: table["layer1.0.conv2"][0].update(padding="same"),
        lambda table: table["layer1.0.conv2"][0].update(device="cuda"),
        lambda table: table["layer1.0.conv2"][0].update(groups=0),
        lambda table: table["layer1.0.conv2"][0].update(padding=[60000, 60000]),
        lambda table: table.update({"layer9.conv": table.pop("layer1.0.conv2")}),
        lambda table: table.update({"": table.pop("layer1.0.conv2")}),
        lambda table: table.update({"layer1.0.conv2": []}),
        lambda table: table.update({"layer1.0.conv2": "Conv2d"}),
        lambda table: table["layer1.0.bn1"][0].update(num_features=60000),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(change: object, tmp_path: Path) -> None:
    model = _changed()
    path = tmp_path / "net.safetensors"
    save_weights(model, path)
    table = json.loads(json.dumps(structure_of(model)))
    change(table)  # type: ignore[operator]
    save_file(load_file(path), path, {"structure": json.dumps(table)})
    with pytest.raises(FormatError, match="structure"):
        load_weights(_network(), path)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 5000, '{"fc": {"a": 1}}'])
def test_a_structure_that_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(_network(), path)
    save_file(load_file(path), path, {"structure": text})
    with pytest.raises(FormatError, match="structure"):
        load_weights(_network(), path)
