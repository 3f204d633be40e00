"""A trained network with each layer's weights and data rounded to a width of its own, measured on images.

Weights are rounded as a build rounds them. Data are what a layer reads: they are rounded over the range that they had
in calibration, with zero a code. At 8 bits that is the int8 file's grid; fewer are simulated, for a file has int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeq.data import normalize
from edgeq.grid import Grid, quantize_weight
from edgeq.snap import quantized_layers

__all__ = ["Layer", "Score", "Trial", "Widths"]

BATCH = 256
Widths = tuple[tuple[int, int], ...]
"""Bits of weights and of data by layer, in order; 0 for floats."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer moves for one image.

    Attributes:
        name: module path.
        weights: numbers stored.
        reads: numbers that it reads of one image.
    """

    name: str
    weights: int
    reads: int


@dataclass(frozen=True, slots=True)
class Score:
    """How the network does on a set of images.

    Attributes:
        accuracy: in percent.
        loss: mean cross-entropy, which tells apart what has the same accuracy.
    """

    accuracy: float
    loss: float


class Trial:
    """A network that can be measured at any widths; every measurement is kept.

    Args:
        model: float32, in eval mode, on the CPU; it is changed while it is measured and put back.
        grid: the function of the weights' grids; their bits are those that are tried.
        per_channel: one step an output channel instead of one a layer.
        calibration: uint8 images [N, C, H, W] that the data's ranges are taken from.
        names: the layers that are tried; all others stay as they are.
    """

    def __init__(
        self, model: nn.Module, grid: Grid, *, per_channel: bool, calibration: Tensor, names: tuple[str, ...] = ()
    ) -> None:
        self._model, self._grid, self._per_channel = model, grid, per_channel
        found = quantized_layers(model)
        self._modules: dict[str, Any] = {name: found[name] for name in names or found}
        self._floats: dict[str, Tensor] = {
            name: module.weight.detach().clone() for name, module in self._modules.items()
        }
        self._rounded: dict[tuple[str, int], Tensor] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._kept: dict[tuple[Widths, int], Score] = {}
        self.layers = self._watch(calibration)

    @property
    def measured(self) -> int:
        """How many measurements were made."""
        return len(self._kept)

    @torch.no_grad()
    def score(self, widths: Widths, images: Tensor, labels: Tensor) -> Score:
        """Measure the network at these widths, or say what was measured before.

        Args:
            widths: by layer, as :attr:`layers` has them.
            images: uint8 [N, C, H, W]; the same tensor for the same images.
            labels: int64 [N].
        """
        key = (widths, id(images))
        if key not in self._kept:
            self._kept[key] = self._measure(widths, images, labels)
        return self._kept[key]

    def _measure(self, widths: Widths, images: Tensor, labels: Tensor) -> Score:
        bits = {layer.name: pair for layer, pair in zip(self.layers, widths, strict=True)}
        for name, module in self._modules.items():
            module.weight.copy_(self._weight(name, bits[name][0]))
        hooks = [
            module.register_forward_pre_hook(
                lambda _module, inputs, name=name: (_round(inputs[0], *self._ranges[name], bits[name][1]), *inputs[1:])
            )
            for name, module in self._modules.items()
            if bits[name][1]
        ]
        right, loss = 0, 0.0
        try:
            for batch, wanted in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
                logits = self._model(normalize(batch)).float()
                right += int((logits.argmax(1) == wanted).sum())
                loss += float(nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        finally:
            for hook in hooks:
                hook.remove()
            for name, module in self._modules.items():
                module.weight.copy_(self._floats[name])
        return Score(round(100 * right / len(images), 4), loss / len(images))

    def _weight(self, name: str, bits: int) -> Tensor:
        if not bits:
            return self._floats[name]
        if (name, bits) not in self._rounded:
            grid = Grid(bits, self._grid.function, self._grid.power_of_two)
            values = self._floats[name].contiguous().numpy()
            found = quantize_weight(values, grid, per_channel=self._per_channel, name=f"layer {name}")
            self._rounded[name, bits] = torch.from_numpy(found.values)
        return self._rounded[name, bits]

    @torch.no_grad()
    def _watch(self, images: Tensor) -> tuple[Layer, ...]:
        """The range of what each layer reads, and how much that is."""
        reads: dict[str, int] = {}

        def see(name: str, value: Tensor) -> None:
            low, high = self._ranges.get(name, (0.0, 0.0))
            self._ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
            reads[name] = value[0].numel()

        hooks = [
            module.register_forward_pre_hook(lambda _module, inputs, name=name: see(name, inputs[0]))
            for name, module in self._modules.items()
        ]
        try:
            for batch in torch.split(images, BATCH):
                self._model(normalize(batch))
        finally:
            for hook in hooks:
                hook.remove()
        order = [name for name in self._modules if name in reads]  # a layer that nothing reads stays as it is
        self._modules = {name: self._modules[name] for name in order}
        return tuple(Layer(name, self._floats[name].numel(), reads[name]) for name in order)


def _round(values: Tensor, low: float, high: float, bits: int) -> Tensor:
    """To the 2^bits codes over [low, high], which holds zero; zero is one of them."""
    most = 2**bits - 1
    scale = (high - low) / most
    if not scale > 0:
        return values
    zero = round(-low / scale)
    codes: Tensor = (torch.round(values / scale) + zero).clamp_(0, most)
    return codes.sub_(zero).mul_(scale)
