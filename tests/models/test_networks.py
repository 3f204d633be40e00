from __future__ import annotations

import hashlib

import narrow_nets
import pytest
import torch
from narrow_nets import NARROW
from torch import nn

from edgeq.errors import ModelError
from edgeq.models import MODELS, build_network, create_model

# Parameters at the paper's input and classes, as torchvision 0.29 (ImageNet's), timm 1.0 (mixer, ViT, EfficientNet) and
# the papers' own code (WRN) have them; U-Net's is of the network with batch norm that is most used.
PARAMETERS = {
    "densenet121": 7_978_856,
    "efficientnet_lite0": 4_652_008,
    "googlenet": 6_624_904,
    "mixer_s16": 18_528_264,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "shufflenet_v2": 2_278_604,
    "squeezenet": 1_235_496,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vit_tiny16": 5_717_416,
}

# Table 4: 36.5M; table 5: 2.7M; 0.219M in Zagoruyko's talk on weight parameterizations.
WIDE = [("wrn28_10", 36_479_194), ("wrn16_4", 2_748_890), ("wrn16_1_bottleneck", 219_482)]

# SHA-256 of the lines "name shape" of the state dict of torchvision's network (timm's for mixer and ViT), sorted.
STATES = {
    "densenet121": "9c659ec278435e95",
    "googlenet": "545eb1baab91f5d8",
    "mixer_s16": "f8a4775aa58bd03a",
    "mobilenet_v2": "e3eb10f890f74c6e",
    "mobilenet_v3_large": "555a3f5e3bcc126e",
    "mobilenet_v3_small": "8fee267f118ca2d7",
    "resnet18": "5191d63ec3989592",
    "resnet34": "f8de2a1812ef85e4",
    "resnet50": "a87e91cd6bd1f939",
    "shufflenet_v2": "c54ed350c00fa178",
    "squeezenet": "3fbd2a746421cada",
    "vgg11": "b11acd4f90d9643f",
    "vgg16": "ba63c2556d912509",
    "vit_tiny16": "e1821155d0eba217",
}


def weightless(name: str, classes: int = 1000, shape: tuple[int, ...] = (3, 224, 224)) -> nn.Module:
    """A network whose tensors have shapes and no values: quick for any size."""
    with torch.device("meta"):
        return MODELS[name](classes, shape)


def parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_the_known_number_of_parameters(name: str) -> None:
    model = weightless(name)
    assert parameters(model) == PARAMETERS[name]
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize("name", STATES)
def test_weights_trained_elsewhere_fit_by_name(name: str) -> None:
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in weightless(name).state_dict().items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == STATES[name]


@pytest.mark.parametrize(("name", "wanted"), WIDE)
def test_wide_resnets_have_the_papers_parameters(name: str, wanted: int) -> None:
    assert parameters(weightless(name, 10, (3, 32, 32))) == wanted


@pytest.mark.parametrize(("name", "wanted"), [("lenet_300_100", 266_610), ("lenet5_caffe", 431_080)])
def test_lenets_have_deep_compressions_parameters(name: str, wanted: int) -> None:
    """Table 2: 235K + 30K + 1K and biases; table 3: 0.5K + 25K + 400K + 5K and biases."""
    for channels in (1, 3):
        model = weightless(name, 10, (channels, 28, 28))
        assert parameters(model) == wanted
        assert model(torch.zeros(2, channels, 28, 28, device="meta")).shape == (2, 10)


def test_lenets_of_gray_images_give_the_same_for_any_number_of_channels() -> None:
    gray = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for name in ("lenet_300_100", "lenet5_caffe"):
        one, three = (create_model(name, num_classes=10, input_shape=(c, 28, 28), seed=0) for c in (1, 3))
        assert torch.equal(one(gray), three(gray.repeat(1, 3, 1, 1)))
    with pytest.raises(ModelError, match=r"images are too small .*--image-size 28"):
        create_model("lenet5_caffe", num_classes=10, input_shape=(3, 12, 28), seed=0)


def test_unet_has_the_known_parameters_and_keeps_the_size() -> None:
    model = weightless("unet", 2, (3, 64, 48))
    assert parameters(model) == 31_037_698
    assert model(torch.zeros(2, 3, 64, 48, device="meta")).shape == (2, 2, 64, 48)


def test_the_autoencoder_gives_an_image() -> None:
    model = build_network("autoencoder", num_classes=10, input_shape=(3, 16, 24), seed=0)
    image = model(torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)))
    assert image.shape == (2, 3, 16, 24)
    assert image.abs().max() <= 1
    half = 9 * (3 * 32 + 32 * 64 + 64 * 128) + 16 * (128 * 64 + 64 * 32 + 32 * 3) + 3
    assert parameters(model) == half + 2 * (32 + 64 + 128 + 64 + 32)


def test_keyword_spotting_networks_have_the_papers_layers() -> None:
    model = weightless("ds_cnn", 12, (1, 49, 10))
    assert parameters(model) == 40 * 64 + 4 * 64 * (9 + 64) + 9 * 2 * 64 + 64 * 12 + 12
    frames: dict[str, object] = {}
    blocks = model.get_submodule("blocks")
    blocks.register_forward_hook(lambda module, inputs, output: frames.update(shape=output.shape))
    assert model(torch.zeros(3, 1, 49, 10, device="meta")).shape == (3, 12)
    assert frames["shape"] == (3, 64, 25, 5)  # the paper's feature map after a stride of 2x2
    assert weightless("ds_cnn_1d", 12, (40, 98))(torch.zeros(3, 40, 98, device="meta")).shape == (3, 12)


@pytest.mark.parametrize("name", NARROW)
def test_every_family_trains(name: str) -> None:
    torch.manual_seed(0)
    model = getattr(narrow_nets, name)()
    model(torch.randn(4, *NARROW[name])).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("ds_cnn_1d", (3, 32, 32), "another kind of input .*got 3,32,32, wanted C,L"),
        ("resnet50", (40, 98), "another kind of input .*got 40,98, wanted C,H,W"),
        ("vgg11", (3, 24, 24), "too small .*got 24x24, wanted 32x32"),
        ("unet", (3, 24, 40), "halved"),
        ("autoencoder", (3, 12, 40), "halved .*got 40x12"),
        ("vit_tiny16", (3, 24, 32), "patches .*got 32x24, wanted sides that are multiples of 16"),
    ],
)
def test_inputs_that_do_not_fit_are_told(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_network(name, num_classes=10, input_shape=shape, seed=0)


def test_networks_without_class_scores_cannot_be_trained_as_classifiers() -> None:
    with pytest.raises(ModelError, match="does not fit the data"):
        create_model("autoencoder", num_classes=10, input_shape=(3, 16, 16), seed=0)
