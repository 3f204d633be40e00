"""The baseline networks of Calli 2017, "Optimizing Neural Networks for Mobile Devices" (thesis, Radboud University),
section 2.7: sums of two numbers, an auto-encoder and a classifier for MNIST, a classifier for CIFAR-10."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeq.errors import ModelError

__all__ = ["CifarBaseline", "MnistAutoEncoder", "MnistBaseline", "SumNetwork"]

_STD = 0.1  # of the truncated normal, cut at two of them


def _initialise(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=_STD, a=-2 * _STD, b=2 * _STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _require_multiple(name: str, input_shape: tuple[int, int, int], least: int) -> None:
    _, height, width = input_shape
    if height % 4 or width % 4 or min(height, width) < least:
        wanted = f"sides that are multiples of 4, {least} or more"
        raise ModelError("images of a size it is not for", where=name, got=f"{width}x{height}", wanted=wanted)


class SumNetwork(nn.Module):
    """One hidden layer of ReLUs that is to add its inputs (section 2.7.1); one hidden unit would do.

    Args:
        num_classes: length of the output; 1 for the sum.
        input_shape: (C, H, W) of what is added, (2, 1, 1) in the thesis.
        hidden: units.

    Takes float [N, C, H, W], gives [N, num_classes].
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int], hidden: int = 1000) -> None:
        super().__init__()
        self.fc1 = nn.Linear(math.prod(input_shape), hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return y


class MnistAutoEncoder(nn.Module):
    """Two 3x3 convolutions of stride 2 and two transposed ones, each with bias, batch norm and ReLU (table 2.2).

    The last ReLU stands for pixels from 0 on; as ours begin at -1, it is moved there.

    Args:
        num_classes: not used; the output is an image.
        input_shape: (C, H, W), each side a multiple of 4.
        widths: channels behind the first three blocks; the thesis experiments on these, (4, 16, 4) loses nothing.

    Takes float [N, C, H, W] in [-1, 1], gives the same shape, -1 or more.

    Raises:
        ModelError: a side that cannot be halved twice.
    """

    def __init__(
        self, num_classes: int, input_shape: tuple[int, int, int], widths: tuple[int, int, int] = (32, 64, 32)
    ) -> None:
        super().__init__()
        _require_multiple("mnist_autoencoder", input_shape, 4)
        channels = input_shape[0]
        first, second, third = widths
        self.encoder = nn.Sequential(*_block(channels, first), *_block(first, second))
        self.decoder = nn.Sequential(*_block(second, third, up=True), *_block(third, channels, up=True))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.decoder(self.encoder(x))
        return y - 1


def _block(in_channels: int, out_channels: int, *, up: bool = False) -> list[nn.Module]:
    layer: nn.Module = (
        nn.ConvTranspose2d(in_channels, out_channels, 3, 2, padding=1, output_padding=1)
        if up
        else nn.Conv2d(in_channels, out_channels, 3, 2, padding=1)
    )
    return [layer, nn.BatchNorm2d(out_channels), nn.ReLU()]


class MnistBaseline(nn.Module):
    """Two 5x5 convolutions with pools, one as large as what they leave (7x7 for MNIST), a dense layer (table 2.3).

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), each side a multiple of 4, 28x28 in the thesis.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side that cannot be halved twice.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _require_multiple("mnist_cnn", input_shape, 4)
        channels, height, width = input_shape
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, (height // 4, width // 4)), nn.ReLU()),
        )
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Linear(128, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.features(x).flatten(1)))
        return logits


class CifarBaseline(nn.Module):
    """Two 5x5 convolutions with overlapping pools and three dense layers, batch norm behind all but the last
    (table 2.4). Its distortions are the recipe's: ``data.crop = 24``, ``train.brightness = 63``, ``train.contrast =
    0.8``; its standardization of each image is left out, for pixels enter as they are.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), each side a multiple of 4, 24x24 in the thesis.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side that cannot be halved twice.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _require_multiple("cifar_cnn", input_shape, 8)
        channels, height, width = input_shape
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)  # TensorFlow's SAME: the odd pixel is at the lower right
        self.features = nn.Sequential(
            *(nn.Conv2d(channels, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU(), pool),
            *(nn.Conv2d(64, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU(), pool),
        )
        self.classifier = nn.Sequential(
            *(nn.Linear(64 * (height // 4) * (width // 4), 384), nn.BatchNorm1d(384), nn.ReLU()),
            *(nn.Linear(384, 192), nn.BatchNorm1d(192), nn.ReLU()),
            nn.Linear(192, num_classes),
        )
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits
