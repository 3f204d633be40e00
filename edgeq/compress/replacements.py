"""What may stand in the place of a layer: several smaller ones, by how many components are kept of it.

Each kind knows its singular values, its multiply-adds and its layers for any ranks; which ranks are taken is decided
elsewhere. Padding, stride and dilation of the layer are those of its replacement, its bias is in the last one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from edgeq.compress.count import Place
from edgeq.compress.factor import balanced, singular_values, svd_factors, tucker2
from edgeq.compress.kernel_cost import Layer
from edgeq.models.layers import Repeat

__all__ = ["Depthwise", "Matrix", "Replacement", "Spatial", "Tucker", "low_rank_of"]

Ranks = tuple[int, ...]

LayerT = TypeVar("LayerT", nn.Conv2d, nn.Linear, nn.Conv2d | nn.Linear)


@dataclass(frozen=True)
class Replacement(ABC, Generic[LayerT]):
    """One layer and what may stand in its place.

    Attributes:
        path: in the network.
        layer: with a dense weight.
        place: the sizes that images have before and after it.
    """

    path: str
    layer: LayerT
    place: Place

    @cached_property
    @abstractmethod
    def spectra(self) -> tuple[Tensor, ...]:
        """For each rank the singular values of what it truncates, falling."""

    @abstractmethod
    def costs(self, ranks: Ranks) -> list[Layer]:
        """What the replacement costs: its convolutions, in order."""

    @abstractmethod
    def weights(self, ranks: Ranks) -> list[nn.Module]:
        """The layers, in order, float32, with the bias in the last."""

    @property
    def cost_now(self) -> Layer:
        outputs, inputs, *kernel = self.layer.weight.shape
        return Layer(outputs, inputs, math.prod(kernel), self.place.outputs)

    @property
    def macs_now(self) -> int:
        return self.cost_now.macs

    def macs(self, ranks: Ranks) -> int:
        """Multiply-adds of the replacement, an image."""
        return sum(layer.macs for layer in self.costs(ranks))

    def layers(self, ranks: Ranks) -> list[nn.Module]:
        """The replacement, on the layer's device, trained as the layer is."""
        found = self.weights(ranks)
        for part in found:
            part.to(self.layer.weight.device).requires_grad_(self.layer.weight.requires_grad)
        return found


def low_rank_of(path: str, layer: nn.Conv2d | nn.Linear, place: Place) -> Replacement[Any]:
    """The kind for a layer: two factors of a matrix, or Tucker-2 of a kernel."""
    if isinstance(layer, nn.Conv2d) and layer.weight[0, 0].numel() > 1:
        return Tucker(path, layer, place)
    return Matrix(path, layer, place)


class Matrix(Replacement[nn.Conv2d | nn.Linear]):
    """Two linear layers or 1x1 convolutions, ``W = (U S^1/2)(S^1/2 V^T)``."""

    @cached_property
    def spectra(self) -> tuple[Tensor, ...]:
        return (singular_values(self._matrix),)

    def costs(self, ranks: Ranks) -> list[Layer]:
        (outputs, inputs), places = self._matrix.shape, self.place.outputs
        return [Layer(ranks[0], inputs, 1, places), Layer(outputs, ranks[0], 1, places)]

    def weights(self, ranks: Ranks) -> list[nn.Module]:
        last, first = svd_factors(self._matrix, ranks[0])
        layer = self.layer
        if isinstance(layer, nn.Conv2d):
            return [
                _conv(first[..., None, None], stride=layer.stride, padding=layer.padding),
                _conv(last[..., None, None], bias=layer.bias),
            ]
        return [_linear(first, None), _linear(last, layer.bias)]

    @property
    def _matrix(self) -> Tensor:
        return self.layer.weight.detach().flatten(1)


class Tucker(Replacement[nn.Conv2d]):
    """1x1, k x k and 1x1 convolutions; ranks are those of the output and input channels, and a full one has no 1x1."""

    @cached_property
    def spectra(self) -> tuple[Tensor, ...]:
        weight = self.layer.weight.detach()
        return singular_values(weight.flatten(1)), singular_values(weight.transpose(0, 1).flatten(1))

    def costs(self, ranks: Ranks) -> list[Layer]:
        outputs, inputs, *kernel = self.layer.weight.shape
        out, into = ranks
        first = [] if into == inputs else [Layer(into, inputs, 1, self.place.inputs)]
        last = [] if out == outputs else [Layer(outputs, out, 1, self.place.outputs)]
        return [*first, Layer(out, into, math.prod(kernel), self.place.outputs), *last]

    def weights(self, ranks: Ranks) -> list[nn.Module]:
        layer = self.layer
        outputs, inputs = layer.weight.shape[:2]
        out, core, into = tucker2(layer.weight.detach(), (ranks[0], ranks[1]))
        if ranks[0] == outputs:
            core = torch.einsum("or,rshw->oshw", out, core)
        if ranks[1] == inputs:
            core = torch.einsum("rshw,si->rihw", core, into)
        kept = {"core": core}
        kept |= {"into": into} if ranks[1] < inputs else {}
        kept |= {"out": out} if ranks[0] < outputs else {}
        parts = dict(zip(kept, balanced(*kept.values()), strict=True))
        middle = _conv(parts["core"], stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
                       bias=None if "out" in parts else layer.bias)  # fmt: skip
        first = [_conv(parts["into"][..., None, None])] if "into" in parts else []
        last = [_conv(parts["out"][..., None, None], bias=layer.bias)] if "out" in parts else []
        return [*first, middle, *last]


@dataclass(frozen=True)
class Spatial(Replacement[nn.Conv2d]):
    """1 x N and then N x 1, the rank being the channels between them.

    Attributes:
        relu: a ReLU between the two: another function, which training has to find.
    """

    relu: bool = False

    @cached_property
    def spectra(self) -> tuple[Tensor, ...]:
        return (singular_values(self._matrix),)

    def costs(self, ranks: Ranks) -> list[Layer]:
        outputs, inputs, high, wide = self.layer.weight.shape
        between = self.place.input_size[0] * self.place.output_size[1]
        return [Layer(ranks[0], inputs, wide, between), Layer(outputs, ranks[0], high, self.place.outputs)]

    def weights(self, ranks: Ranks) -> list[nn.Module]:
        layer, rank = self.layer, ranks[0]
        outputs, inputs, high, wide = layer.weight.shape
        last, first = svd_factors(self._matrix, rank)
        (stride_y, stride_x), (dilation_y, dilation_x) = layer.stride, layer.dilation
        pad_y, pad_x = (int(pad) for pad in layer.padding)
        row = _conv(first.reshape(rank, inputs, 1, wide), stride=(1, stride_x), padding=(0, pad_x),
                    dilation=(1, dilation_x))  # fmt: skip
        column = _conv(last.reshape(outputs, high, rank).transpose(1, 2)[..., None], stride=(stride_y, 1),
                       padding=(pad_y, 0), dilation=(dilation_y, 1), bias=layer.bias)  # fmt: skip
        return [row, nn.ReLU(), column] if self.relu else [row, column]

    @property
    def _matrix(self) -> Tensor:
        """[O KH, I KW]: the kernel sums over the rank what a column of O and a row of I give."""
        outputs, inputs, high, wide = self.layer.weight.shape
        return self.layer.weight.detach().permute(0, 2, 1, 3).reshape(outputs * high, inputs * wide)


class Depthwise(Replacement[nn.Conv2d]):
    """A depthwise N x N convolution with as many filters an input channel as the rank, then a 1x1 convolution.

    Several filters are one filter a channel of channels repeated: XNNPACK's depthwise kernels know no other.
    """

    @cached_property
    def spectra(self) -> tuple[Tensor, ...]:
        return (singular_values(self._matrices).square().sum(0).sqrt(),)

    def costs(self, ranks: Ranks) -> list[Layer]:
        outputs, inputs, *kernel = self.layer.weight.shape
        between, places = ranks[0] * inputs, self.place.outputs
        return [Layer(between, 1, math.prod(kernel), places), Layer(outputs, between, 1, places)]

    def weights(self, ranks: Ranks) -> list[nn.Module]:
        layer, rank = self.layer, ranks[0]
        outputs, inputs, high, wide = layer.weight.shape
        mix, filters = svd_factors(self._matrices, rank)  # [I, O, R] and [I, R, KH KW]
        each = _conv(filters.transpose(0, 1).reshape(rank * inputs, 1, high, wide), stride=layer.stride,
                     padding=layer.padding, dilation=layer.dilation, groups=rank * inputs)  # fmt: skip
        last = _conv(mix.permute(1, 2, 0).reshape(outputs, rank * inputs)[..., None, None], bias=layer.bias)
        return [*([Repeat(rank)] if rank > 1 else []), each, last]

    @property
    def _matrices(self) -> Tensor:
        """[I, O, KH KW]: what each input channel gives to the outputs."""
        return self.layer.weight.detach().flatten(2).transpose(0, 1)


@torch.no_grad()
def _conv(
    weight: Tensor,
    *,
    stride: Sequence[int] = (1, 1),
    padding: str | Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    bias: Tensor | None = None,
) -> nn.Conv2d:
    outputs, per_group, *kernel = weight.shape
    assert not isinstance(padding, str)
    size, step, pad, spread = ((pair[0], pair[1]) for pair in (kernel, stride, padding, dilation))
    made = nn.Conv2d(per_group * groups, outputs, size, step, pad, spread, groups, bias=bias is not None)
    return _filled(made, weight, bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


ModuleT = TypeVar("ModuleT", nn.Conv2d, nn.Linear)


@torch.no_grad()
def _filled(layer: ModuleT, weight: Tensor, bias: Tensor | None) -> ModuleT:
    layer.weight.copy_(weight)
    if bias is not None:
        assert layer.bias is not None
        layer.bias.copy_(bias)
    return layer
