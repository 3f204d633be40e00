"""The thesis' networks against its tables 2.2 to 2.4."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d, pad

from edgeq.errors import ModelError
from edgeq.models import MODELS, build_network
from edgeq.models.baselines import MnistAutoEncoder


def outputs(model: nn.Module, shape: tuple[int, ...], kinds: tuple[type[nn.Module], ...]) -> list[list[int]]:
    """What each module of some kinds gives for one image, without the batch."""
    seen: list[list[int]] = []
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(list(output.shape[1:])))
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    return seen


def test_the_mnist_classifier_is_that_of_table_2_3() -> None:
    model = MODELS["mnist_cnn"](10, (1, 28, 28))
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear)
    wanted = [[32, 28, 28], [32, 14, 14], [64, 14, 14], [64, 7, 7], [128, 1, 1], [10]]
    assert outputs(model, (1, 28, 28), kinds) == wanted
    assert sum(p.numel() for p in model.parameters()) == 832 + 51_264 + 401_536 + 1_290
    weight = model.get_parameter("features.6.weight").detach()
    assert float(weight.abs().max()) <= 0.2
    assert float(weight.std()) == pytest.approx(0.088, rel=0.02)  # 0.1, cut at two of it


def test_the_cifar_classifier_is_that_of_table_2_4() -> None:
    model = MODELS["cifar_cnn"](10, (3, 24, 24))
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear)
    wanted = [[64, 24, 24], [64, 12, 12], [64, 12, 12], [64, 6, 6], [384], [192], [10]]
    assert outputs(model, (3, 24, 24), kinds) == wanted
    x = torch.randn(2, 3, 24, 24)
    same = max_pool2d(pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)  # TensorFlow's SAME
    assert torch.equal(model.get_submodule("features.3")(x), same)


def test_the_auto_encoder_is_that_of_table_2_2() -> None:
    model = MnistAutoEncoder(10, (1, 28, 28), (4, 16, 4))
    wanted = [[4, 14, 14], [16, 7, 7], [4, 14, 14], [1, 28, 28]]
    assert outputs(model, (1, 28, 28), (nn.BatchNorm2d,)) == wanted
    image = model.eval()(torch.randn(2, 1, 28, 28))
    assert image.shape == (2, 1, 28, 28)
    assert float(image.detach().min()) >= -1


def test_one_hidden_unit_could_add() -> None:
    model = build_network("sum_network", num_classes=1, input_shape=(2, 1, 1), seed=0)
    assert sum(p.numel() for p in model.parameters()) == 3 * 1000 + 1001
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.get_parameter("fc1.weight")[0] = 1
        model.get_parameter("fc1.bias")[0] = 2
        model.get_parameter("fc2.weight")[0, 0] = 1
        model.get_parameter("fc2.bias")[0] = -2
        x = torch.rand(20, 2, 1, 1) * 2 - 1
        assert torch.allclose(model(x)[:, 0], x.flatten(1).sum(1), atol=1e-6)


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_autoencoder", "cifar_cnn"])
def test_sides_that_cannot_be_halved_are_told(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name}.*got 30x28, wanted sides that are multiples of 4"):
        build_network(name, num_classes=10, input_shape=(1, 28, 30), seed=0)
