"""A small data set and small networks for tests of whole commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["FACTORIES", "write_images", "write_nets"]

SIDE = 12

FACTORIES = '''
import torch
from torch import nn


class Small(nn.Module):
    """Convolutions with and without batch norm, a depthwise one, a flatten of several pixels, two dense layers."""

    def __init__(self, classes=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 5, (1, 3))
        self.fc1 = nn.Linear(5 * 3 * 2, 7)
        self.fc2 = nn.Linear(7, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.depthwise(x))
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def small():
    return Small()


def signed():
    """Half of the gammas negative, some zero."""
    torch.manual_seed(3)
    net = Small()
    with torch.no_grad():
        for norm in (net.bn1, net.bn2):
            norm.weight.copy_(torch.tensor([1.5, -0.5, 0.0, -1.0, 0.7, -0.0]))
            norm.bias.uniform_(-1, 1)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    return net


def broken():
    net = Small()
    with torch.no_grad():
        net.depthwise.weight[2, 0, 1, 1] = float("inf")
        net.depthwise.weight[3, 0, 1, 1] = float("nan")
    return net


class Arccosines(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return torch.acos(self.fc(x.mean((2, 3))))


def arccosines():
    return Arccosines()


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.spare = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


def unused():
    return Unused()


def normed():
    net = Small()
    nn.utils.parametrizations.weight_norm(net.fc1)
    return net


class Empty(nn.Module):
    def forward(self, x):
        return torch.relu(x.mean((2, 3))[:, :2])


def empty():
    return Empty()
'''


def write_nets(folder: Path) -> str:
    """A file of factories; a test names one as ``FILE.py:small``."""
    path = folder / "nets.py"
    path.write_text(FACTORIES)
    return str(path)


def write_images(folder: Path, *, train: int = 24, test: int = 20) -> str:
    """Two classes that a small network tells apart: brighter above or brighter below, with noise."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for name in ("above", "below"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (SIDE, SIDE, 3))
                half = slice(0, SIDE // 2) if name == "above" else slice(SIDE // 2, SIDE)
                pixels[half] += 120
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number:03}.png")
    return str(folder)
