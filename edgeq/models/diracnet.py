"""DiracNets for CIFAR: Zagoruyko and Komodakis 2017, arXiv:1706.00388. No shortcuts: the identity is in the weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, normalize
from torch.nn.utils import parametrize

from edgeq.models.layers import conv_norm, initialise

__all__ = ["Dirac", "DiracNet"]

_WIDTHS = (16, 32, 64)
_IDENTITY, _REST = 1.0, 0.1


class Dirac(nn.Module):
    """The parametrization ``diag(a) I + diag(b) W / |W|`` of a convolution's weight, its filters normalized one by one.

    Args:
        weight: [O, I, KH, KW], whose shape it is for; I passes the first min(O, I) channels on as they are.

    Attributes:
        identity: a, float32 [O], 1 at first.
        rest: b, float32 [O], 0.1 at first. Neither decays, for they have one dimension.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.identity = nn.Parameter(torch.full((len(weight),), _IDENTITY))
        self.rest = nn.Parameter(torch.full((len(weight),), _REST))
        self.register_buffer("delta", nn.init.dirac_(torch.empty_like(weight)), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        delta = self.delta
        assert isinstance(delta, Tensor)
        filters = normalize(weight.flatten(1)).view_as(weight)
        return self.identity[:, None, None, None] * delta + self.rest[:, None, None, None] * filters


class DiracNet(nn.Module):
    """DiracNet-depth-widen: three groups of (depth - 4) / 3 layers of 16, 32 and 64 times ``widen`` channels.

    A layer is a 3x3 convolution with a :class:`Dirac` weight, its batch norm and a ReLU; between the groups lies a 2x2
    maximum pool. Folded (:func:`edgeq.models.fold.fold_weights`), it is a plain network like VGG.

    Args:
        depth: layers with weights: 6n + 4.
        widen: the paper's k.
        num_classes: length of the output.
        input_shape: (C, H, W), 32x32 in the paper; each side 4 or more.

    Takes float [N, C, H, W], gives logits [N, num_classes].
    """

    def __init__(self, depth: int, widen: int, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = conv_norm(input_shape[0], _WIDTHS[0], 3)
        channels, groups = _WIDTHS[0], []
        for width in _WIDTHS:
            sizes = [channels] + [width * widen] * ((depth - 4) // 3)
            groups.append(nn.Sequential(*(_layer(a, b) for a, b in pairwise(sizes))))
            channels = width * widen
        self.group1, self.group2, self.group3 = groups
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)
        for conv in (layer[0] for group in groups for layer in group if isinstance(layer, nn.Sequential)):
            assert isinstance(conv, nn.Conv2d)
            nn.init.normal_(conv.weight)
            parametrize.register_parametrization(conv, "weight", Dirac(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(self.group1(self.stem(x)), 2)
        x = self.group3(max_pool2d(self.group2(x), 2))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _layer(in_channels: int, out_channels: int) -> nn.Sequential:
    return conv_norm(in_channels, out_channels, 3)
