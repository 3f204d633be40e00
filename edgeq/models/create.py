"""From a ``--model`` name to a network that is known to fit the data. The table of built-in networks is here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from edgeq.errors import ModelError
from edgeq.models.autoencoder import AutoEncoder
from edgeq.models.baselines import CifarBaseline, MnistAutoEncoder, MnistBaseline, SumNetwork
from edgeq.models.densenet import DenseNet
from edgeq.models.diracnet import DiracNet
from edgeq.models.ds_cnn import DSCNN, DSCNN1D
from edgeq.models.efficientnet_lite import EfficientNetLite0
from edgeq.models.factory import call_factory
from edgeq.models.googlenet import GoogLeNet
from edgeq.models.lenet5 import LeNet5
from edgeq.models.lenet_caffe import LeNet5Caffe, LeNet300100
from edgeq.models.mixer import Mixer
from edgeq.models.mlp import MLP
from edgeq.models.mobilenet import MobileNetV1
from edgeq.models.mobilenet_v2 import MobileNetV2
from edgeq.models.mobilenet_v3 import LARGE, SMALL, MobileNetV3
from edgeq.models.resnet import ResNet
from edgeq.models.resnet_imagenet import BasicBlock, Bottleneck, ImageNetResNet
from edgeq.models.shufflenet_v2 import ShuffleNetV2
from edgeq.models.squeezenet import SqueezeNet
from edgeq.models.unet import UNet
from edgeq.models.vgg import VGG, VGG11, VGG16
from edgeq.models.vit import ViT
from edgeq.models.wide_resnet import WideResNet

__all__ = ["MODELS", "build_network", "check_name", "create_model", "unchanged"]

Builder = Callable[[int, Any], nn.Module]

MODELS: Mapping[str, Builder] = MappingProxyType(
    {
        "autoencoder": AutoEncoder,
        "cifar_cnn": CifarBaseline,
        "densenet121": partial(DenseNet, (6, 12, 24, 16), 32),
        "diracnet16_1": partial(DiracNet, 16, 1),
        "diracnet28_10": partial(DiracNet, 28, 10),
        "diracnet28_5": partial(DiracNet, 28, 5),
        "ds_cnn": DSCNN,
        "ds_cnn_1d": DSCNN1D,
        "efficientnet_lite0": EfficientNetLite0,
        "googlenet": GoogLeNet,
        "lenet5": LeNet5,
        "lenet5_caffe": LeNet5Caffe,
        "lenet_300_100": LeNet300100,
        "mixer_s16": partial(Mixer, 512, 8, 16),
        "mlp": MLP,
        "mnist_autoencoder": MnistAutoEncoder,
        "mnist_cnn": MnistBaseline,
        "mobilenet_v1": MobileNetV1,
        "mobilenet_v2": MobileNetV2,
        "mobilenet_v3_large": partial(MobileNetV3, LARGE, 1280),
        "mobilenet_v3_small": partial(MobileNetV3, SMALL, 1024),
        "resnet18": partial(ImageNetResNet, BasicBlock, (2, 2, 2, 2)),
        "resnet20": partial(ResNet, 3),
        "resnet32": partial(ResNet, 5),
        "resnet34": partial(ImageNetResNet, BasicBlock, (3, 4, 6, 3)),
        "resnet44": partial(ResNet, 7),
        "resnet50": partial(ImageNetResNet, Bottleneck, (3, 4, 6, 3)),
        "resnet56": partial(ResNet, 9),
        "shufflenet_v2": ShuffleNetV2,
        "squeezenet": SqueezeNet,
        "sum_network": SumNetwork,
        "unet": partial(UNet, 64),
        "vgg11": partial(VGG, VGG11, 4096),
        "vgg16": partial(VGG, VGG16, 4096),
        "vit_tiny16": partial(ViT, 192, 12, 3, 16),
        "wrn16_1_bottleneck": partial(WideResNet, 16, 1, bottleneck=True),
        "wrn16_4": partial(WideResNet, 16, 4),
        "wrn28_10": partial(WideResNet, 28, 10),
    }
)
"""Networks by name. ``autoencoder``, ``mnist_autoencoder`` and ``unet`` give images and no class scores."""

SIGNALS = frozenset({"ds_cnn_1d"})
"""Those that take a signal (C, L) instead of an image (C, H, W)."""


def create_model(
    name: str,
    *,
    num_classes: int,
    input_shape: tuple[int, int, int],
    seed: int,
    output_shape: tuple[int, ...] | None = None,
) -> nn.Module:
    """Make a network and check that it turns images into class scores, or into what else is wanted.

    Args:
        name: a key of :data:`MODELS`, ``package.module:factory`` or ``FILE.py:factory``; a factory takes no arguments
            and returns the network.
        num_classes: what the network must put out, two or more but where ``output_shape`` says otherwise.
        input_shape: (C, H, W) of one image.
        seed: the initial weights depend on it alone; the caller's random state is left as it was.
        output_shape: of one output; left out, (num_classes,).

    Returns:
        The network, as the factory left it, on the CPU for the built-in ones.

    Raises:
        ModelError: an unknown name, a factory that fails, or a network that does not give [1, *output_shape].
    """
    if num_classes < 2 and output_shape != (num_classes,):
        raise ModelError("too few classes", where=name, got=num_classes, wanted="2 or more")
    if min(input_shape) < 1:
        raise ModelError("images without pixels", where=name, got=input_shape, wanted="(C, H, W), each 1 or more")
    model = build_network(name, num_classes=num_classes, input_shape=input_shape, seed=seed)
    _check_output(model, name, (num_classes,) if output_shape is None else output_shape, input_shape)
    return model


def build_network(name: str, *, num_classes: int, input_shape: tuple[int, ...], seed: int) -> nn.Module:
    """Make a network of any kind, without a look at what it gives.

    Args:
        name: as for :func:`create_model`.
        num_classes: classes, or channels of an output image.
        input_shape: (C, H, W) of an image or (C, L) of a signal.
        seed: the initial weights depend on it alone; the caller's random state is left as it was.

    Raises:
        ModelError: an unknown name, a factory that fails, or a shape that the network is not for.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        if ":" in name:
            return call_factory(name)
        builder = _builder(name)
        wanted = "C,L" if name in SIGNALS else "C,H,W"
        if len(input_shape) != len(wanted.split(",")) or min(input_shape) < 1:
            got = ",".join(map(str, input_shape))
            raise ModelError("the network takes another kind of input", where=name, got=got, wanted=wanted)
        return builder(num_classes, input_shape)


def check_name(name: str) -> None:
    """Refuse an unknown built-in name before minutes go into reading data; a factory is not called.

    Raises:
        ModelError: names the nearest one.
    """
    if ":" not in name:
        _builder(name)


def _builder(name: str) -> Builder:
    builder = MODELS.get(name)
    if builder is None:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.4)
        known = f"known: {', '.join(MODELS)}, or package.module:factory, or FILE.py:factory"
        remedy = f"did you mean {near[0]}? {known}" if near else known
        raise ModelError("unknown model", got=repr(name), remedy=remedy)
    return builder


def _check_output(model: nn.Module, name: str, wanted: tuple[int, ...], input_shape: tuple[int, int, int]) -> None:
    first = next(model.parameters(), torch.empty(0))
    zeros = torch.zeros((1, *input_shape), device=first.device)
    with unchanged(model), torch.no_grad():
        model.eval()
        try:
            output = model(zeros)
        except Exception as error:  # a foreign forward can raise anything
            taken = f"[1, {', '.join(map(str, input_shape))}]"
            told = f"{type(error).__name__}: {error}"
            raise ModelError(f"the network cannot take float32 {taken}", where=name, got=told) from error
    shape = list(output.shape) if isinstance(output, torch.Tensor) else None
    if shape != [1, *wanted]:
        found = shape or type(output).__name__
        remedy = (
            f"return a network for {wanted[0]} classes" if len(wanted) == 1 else "take a network from image to image"
        )
        raise ModelError(
            "the network's output does not fit the data", where=name, got=found, wanted=[1, *wanted], remedy=remedy
        )


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put training flags and buffers back as they were."""
    flags = [(module, module.training) for module in model.modules()]
    saved = [(buffer, buffer.clone()) for buffer in model.buffers() if not nn.parameter.is_lazy(buffer)]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)
        for module, training in flags:
            module.training = training
