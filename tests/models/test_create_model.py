from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import edgeq.models
from edgeq.errors import ModelError
from edgeq.models import MODELS, create_model

GOOD = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 5))

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Dropout(0.5), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(5))

def raises():
    raise RuntimeError("out of luck")

def leaves():
    raise SystemExit(3)

def needs(width):
    return build()

def wrong():
    return 3

def flat():
    return nn.Flatten()

def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()

number = 5
"""


SMALL_IMAGE = (
    "lenet_300_100",
    "mlp",
    "mobilenet_v1",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "wrn16_1_bottleneck",
    "wrn16_4",
)


def make(name: str, seed: int = 0) -> nn.Module:
    return create_model(name, num_classes=5, input_shape=(2, 3, 4), seed=seed)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_is_complete() -> None:
    assert edgeq.models.__all__ == sorted(edgeq.models.__all__)
    assert list(MODELS) == sorted(MODELS)


@pytest.mark.parametrize("name", SMALL_IMAGE)
@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 28, 20)])
def test_built_in_models_take_batches_and_train(name: str, input_shape: tuple[int, int, int]) -> None:
    model = create_model(name, num_classes=7, input_shape=input_shape, seed=1)
    scores = model(torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0)))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert model.training


# Weights of Conv2d and Linear by hand from the paper's table: 9 * 16 * (3 + 16 * 2n) and so on, plus projections.
@pytest.mark.parametrize(("name", "n"), [("resnet20", 3), ("resnet32", 5), ("resnet44", 7), ("resnet56", 9)])
def test_resnets_have_the_papers_number_of_weights(name: str, n: int) -> None:
    model = create_model(name, num_classes=10, input_shape=(3, 32, 32), seed=0)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    stages = 9 * (16 * 16 * 2 * n + 16 * 32 + 32 * 32 * (2 * n - 1) + 32 * 64 + 64 * 64 * (2 * n - 1))
    wanted = 9 * 3 * 16 + stages + 16 * 32 + 32 * 64 + 640
    assert sum(layer.weight.numel() for layer in layers) == wanted
    assert len(layers) == 6 * n + 2 + 2  # two projections
    assert name != "resnet20" or wanted == 270_896


def test_resnet_names_are_those_of_checkpoints() -> None:
    names = set(create_model("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0).state_dict())
    wanted = {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.shortcut.0.weight", "fc.bias"}
    assert wanted | {"layer2.0.shortcut.1.running_mean", "layer3.2.bn2.weight"} <= names
    assert "layer1.0.shortcut.0.weight" not in names


def test_lenet5_has_the_papers_layers() -> None:
    model = create_model("lenet5", num_classes=10, input_shape=(1, 32, 32), seed=0)
    shapes = [tuple(value.shape) for name, value in model.state_dict().items() if name.endswith("weight")]
    assert shapes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 16, 5, 5), (84, 120), (10, 84)]


def test_lenet5_refuses_images_it_has_no_room_for() -> None:
    with pytest.raises(ModelError, match=r"too small .*got 20x8.*--image-size"):
        create_model("lenet5", num_classes=10, input_shape=(3, 8, 20), seed=0)


@pytest.mark.parametrize("name", [*SMALL_IMAGE[:4], "nets:build", "nets.py:build"])
def test_weights_follow_the_seed_and_nothing_else(here: Path, name: str) -> None:
    shape, classes = ((3, 32, 32), 10) if ":" not in name else ((2, 3, 4), 5)
    states = []
    for caller, seed in ((1, 4), (2, 4), (1, 5)):
        torch.manual_seed(caller)
        states.append(create_model(name, num_classes=classes, input_shape=shape, seed=seed).state_dict())
        after = torch.rand(3)
        torch.manual_seed(caller)
        assert torch.equal(after, torch.rand(3))
    weights = [torch.cat([value.flatten() for key, value in state.items() if "weight" in key]) for state in states]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"unknown model .*'resnet-20'.*did you mean resnet20\?.*lenet5"):
        make("resnet-20")


@pytest.mark.parametrize("reference", ["nets:build", "nets.py:build", "./nets.py:Net", "{here}/nets.py:build"])
def test_a_factory_is_found_by_module_or_file(here: Path, reference: str) -> None:
    assert make(reference.format(here=here))(torch.ones(2, 2, 3, 4)).shape == (2, 5)


def test_a_file_may_import_its_neighbours(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (here / "sub").mkdir()
    (here / "sub/edgeq_test_parts.py").write_text(GOOD)
    (here / "sub/net.py").write_text("def build():\n    import edgeq_test_parts\n    return edgeq_test_parts.build()\n")
    before = list(sys.path)
    assert isinstance(make("sub/net.py:build"), nn.Module)
    assert sys.path == before


def test_two_files_of_one_name_do_not_meet(here: Path) -> None:
    (here / "other").mkdir()
    (here / "other/nets.py").write_text(GOOD.replace("4, 5)", "4, 6)"))
    assert make("nets.py:build")(torch.ones(1, 2, 3, 4)).shape == (1, 5)
    with pytest.raises(ModelError, match=r"got \[1, 6\], wanted \[1, 5\]"):
        make("other/nets.py:build")


def test_the_check_leaves_no_trace(here: Path) -> None:
    (here / "traced.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.bn, self.fc = nn.BatchNorm2d(2, momentum=1.0), nn.Linear(24, 5)\n        self.bn.eval()\n"
        "        import torch\n        self.register_buffer('calls', torch.zeros(1))\n"
        "    def forward(self, x):\n        self.calls += 1\n        return self.fc(self.bn(x).flatten(1))\n"
    )
    model = make("traced.py:Net")
    assert model.state_dict()["calls"].item() == 0
    assert model.state_dict()["bn.running_var"].tolist() == [1, 1]
    assert [module.training for module in model.children()] == [False, True]


@pytest.mark.parametrize("place", ["nets", "nets.py"])
@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("missing", r"missing is not there.*wanted one of .*build"),
        ("number", "number is not callable"),
        ("needs", r"needs arguments.*'width'"),
        ("raises", "factory failed.*RuntimeError: out of luck"),
        ("leaves", "factory failed.*SystemExit"),
        ("wrong", "no network .*got int"),
        ("flat", r"does not fit the data .*got \[1, 24\], wanted \[1, 5\]"),
        ("pair", "does not fit the data .*got tuple"),
        ("", "no such form"),
        ("a b", "no such form"),
    ],
)
def test_what_is_wrong_with_a_factory_is_told(here: Path, place: str, factory: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        make(f"{place}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("edgeq_no_such_module:build", "cannot be imported.*ModuleNotFoundError"),
        ("none.py:build", "no such file"),
        ("broken.py:build", "cannot be imported.*SyntaxError"),
        ("exits.py:build", "cannot be imported.*SystemExit"),
        (":build", "no such form"),
        ("..x:build", "cannot be imported"),
    ],
)
def test_what_cannot_be_imported_is_told_with_its_cause(here: Path, reference: str, message: str) -> None:
    (here / "broken.py").write_text("def build(:\n")
    (here / "exits.py").write_text("import sys\nsys.exit(1)\n")
    with pytest.raises(ModelError, match=message) as caught:
        make(reference)
    assert caught.value.__cause__ is not None or "no such" in message


def test_an_image_that_the_network_cannot_take_is_told() -> None:
    with pytest.raises(ModelError, match="too few classes"):
        create_model("mlp", num_classes=1, input_shape=(3, 4, 5), seed=0)
    with pytest.raises(ModelError, match="without pixels"):
        create_model("mlp", num_classes=2, input_shape=(3, 0, 5), seed=0)


def test_a_network_for_other_images_is_told(here: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot take float32 \[1, 3, 8, 8\] .*RuntimeError"):
        create_model("nets:build", num_classes=5, input_shape=(3, 8, 8), seed=0)
