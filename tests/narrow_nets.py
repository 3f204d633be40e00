"""The built-in families, narrow and shallow: every kind of layer and connection of theirs, small enough for a test.

Each is a factory without arguments, so that ``--model narrow_nets:NAME`` finds it; :data:`NARROW` has the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from edgeq.models.autoencoder import AutoEncoder
from edgeq.models.densenet import DenseNet
from edgeq.models.ds_cnn import DSCNN, DSCNN1D
from edgeq.models.efficientnet_lite import EfficientNetLite0
from edgeq.models.googlenet import GoogLeNet, Inception
from edgeq.models.mixer import Mixer
from edgeq.models.mobilenet_v2 import MobileNetV2
from edgeq.models.mobilenet_v3 import SMALL, MobileNetV3
from edgeq.models.resnet_imagenet import BasicBlock, Bottleneck, ImageNetResNet
from edgeq.models.shufflenet_v2 import ShuffleNetV2
from edgeq.models.squeezenet import SqueezeNet
from edgeq.models.unet import UNet
from edgeq.models.vgg import VGG
from edgeq.models.vit import ViT
from edgeq.models.wide_resnet import WideResNet

__all__ = ["CLASSES", "NARROW"]

CLASSES = 10
IMAGE = (3, 48, 32)
INCEPTIONS = (Inception("inception3a", 8, 4, 6, 4, 8, 6, pool=3), Inception("inception3b", 4, 4, 8, 2, 4, 8))


def autoencoder() -> nn.Module:
    return AutoEncoder(CLASSES, IMAGE, (8, 12))


def densenet() -> nn.Module:
    return DenseNet((2, 2), 4, CLASSES, IMAGE)


def ds_cnn() -> nn.Module:
    return DSCNN(CLASSES, (1, 49, 10))


def ds_cnn_1d() -> nn.Module:
    return DSCNN1D(CLASSES, (10, 49))


def efficientnet_lite() -> nn.Module:
    return EfficientNetLite0(CLASSES, IMAGE, ((1, 3, 8, 1, 1), (6, 5, 12, 2, 2)))


def googlenet() -> nn.Module:
    return GoogLeNet(CLASSES, IMAGE, INCEPTIONS)


def mixer() -> nn.Module:
    return Mixer(16, 2, 8, CLASSES, IMAGE)


def mobilenet_v2() -> nn.Module:
    return MobileNetV2(CLASSES, IMAGE, ((1, 8, 1, 1), (6, 12, 2, 2)))


def mobilenet_v3() -> nn.Module:
    return MobileNetV3(SMALL[:1] + SMALL[3:5], 24, CLASSES, IMAGE)


def resnet18() -> nn.Module:
    return ImageNetResNet(BasicBlock, (1, 1), CLASSES, IMAGE)


def resnet50() -> nn.Module:
    return ImageNetResNet(Bottleneck, (2,), CLASSES, IMAGE)


def shufflenet_v2() -> nn.Module:
    return ShuffleNetV2(CLASSES, IMAGE, ((16, 3),))


def squeezenet() -> nn.Module:
    return SqueezeNet(CLASSES, IMAGE, ((4, 8), None, (6, 8)))


def unet() -> nn.Module:
    return UNet(4, CLASSES, IMAGE)


def vgg() -> nn.Module:
    return VGG(((8,), (12,), (16, 16)), 32, CLASSES, IMAGE)


def vit() -> nn.Module:
    return ViT(24, 2, 2, 8, CLASSES, IMAGE)


def wide_resnet() -> nn.Module:
    return WideResNet(10, 1, CLASSES, (3, 16, 16))


NARROW: Mapping[str, tuple[int, ...]] = {
    "autoencoder": IMAGE,
    "densenet": IMAGE,
    "ds_cnn": (1, 49, 10),
    "ds_cnn_1d": (10, 49),
    "efficientnet_lite": IMAGE,
    "googlenet": IMAGE,
    "mixer": IMAGE,
    "mobilenet_v2": IMAGE,
    "mobilenet_v3": IMAGE,
    "resnet18": IMAGE,
    "resnet50": IMAGE,
    "shufflenet_v2": IMAGE,
    "squeezenet": IMAGE,
    "unet": IMAGE,
    "vgg": IMAGE,
    "vit": IMAGE,
    "wide_resnet": (3, 16, 16),
}
"""The shape of each one's input."""
