from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import Build
from safetensors.torch import load_file, save_file
from torch import nn

from edgeq.errors import FormatError, ModelError
from edgeq.models import create_model, load_weights, save_weights
from edgeq.packing.package import pack_bytes


def net(seed: int = 0) -> nn.Module:
    return create_model("resnet20", num_classes=3, input_shape=(3, 8, 8), seed=seed)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_weights(net(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def test_weights_come_back_bit_for_bit(saved: Path) -> None:
    model = net(seed=1)
    assert not same(model, net())
    load_weights(model, saved)
    assert same(model, net())


def test_equal_networks_give_equal_bytes(saved: Path) -> None:
    model = net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    save_weights(model, saved.with_name("again.safetensors"))
    assert saved.with_name("again.safetensors").read_bytes() == saved.read_bytes()


def test_tied_weights_are_written_under_both_names(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    save_weights(model, tmp_path / "tied.safetensors")
    assert set(load_file(tmp_path / "tied.safetensors")) == set(model.state_dict())


def change(path: Path, **tensors: torch.Tensor | None) -> None:
    state = load_file(path)
    for key, value in tensors.items():
        name = key.replace("__", ".")
        state.pop(name, None)
        if value is not None:
            state[name] = value
    save_file(state, path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"conv1__weight": None}, r"1 tensors of the network are missing .*no conv1\.weight"),
        ({"extra": torch.ones(1), "another": torch.ones(1)}, "2 tensors are not the network's .*another, extra"),
        ({"fc__bias": torch.ones(4)}, r"fc\.bias has another shape .*got \[4\], wanted \[3\]"),
        ({"fc__bias": torch.ones(3, dtype=torch.int8)}, r"fc\.bias is of another type .*int8"),
        ({"fc__bias": torch.tensor([1, float("nan"), 2])}, r"NaN or infinite .*got fc\.bias"),
        ({"bn1__running_var": torch.full((16,), float("inf"))}, r"NaN or infinite .*got bn1\.running_var"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    saved: Path, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    change(saved, **tensors)
    model = net(seed=1)
    with pytest.raises(ModelError, match=message):
        load_weights(model, saved)
    assert same(model, net(seed=1))


def test_floats_of_another_width_are_taken(saved: Path) -> None:
    change(saved, fc__bias=torch.tensor([1, 2, 3], dtype=torch.float64))
    model = net()
    load_weights(model, saved)
    assert model.get_parameter("fc.bias").tolist() == [1, 2, 3]
    assert model.get_parameter("fc.bias").dtype == torch.float32


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    saved.write_bytes(saved.read_bytes()[: int(share * saved.stat().st_size)])
    with pytest.raises(FormatError, match=r"net\.safetensors"):
        load_weights(net(), saved)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "net.pt")
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "false").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    (tmp_path / "long").write_bytes(b"\xff" * 64)
    for name in ("net.pt", "false", "long", "missing", "."):
        with pytest.raises(FormatError):
            load_weights(net(), tmp_path / name)


def test_other_files_of_a_network_are_named(built: Build, tmp_path: Path) -> None:
    """What a user has at hand: a file of torch.save in both forms, the artifact, and its package."""
    torch.save(net().state_dict(), tmp_path / "zip.pt")
    torch.save(net().state_dict(), tmp_path / "pickle.pt", _use_new_zipfile_serialization=False)
    package = tmp_path / "model.edgeqpack"
    package.write_bytes(pack_bytes((built.out / "model.tflite").read_bytes()).content)
    for path, kind, remedy in (
        (tmp_path / "zip.pt", "a zip file, as of torch.save", "save_file"),
        (tmp_path / "pickle.pt", "a pickle, as of torch.save", "save_file"),
        (built.out / "model.tflite", "a .tflite file", "checkpoint.safetensors of its build"),
        (package, "a package of edgeq pack", "checkpoint.safetensors of its build, and pack last"),
    ):
        with pytest.raises(FormatError, match=f"is no safetensors file .got {kind}.; .*{remedy}"):
            load_weights(net(), path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        save_weights(net(), tmp_path / "none" / "net.safetensors")
