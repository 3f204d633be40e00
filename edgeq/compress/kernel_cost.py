"""What a convolution costs on a core beside its multiply-adds: which replacements of a layer pay there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgeq.recipe import Recipe
    from edgeq.targets import Target

__all__ = ["KernelCost", "Layer", "kernel_cost", "kernels_of"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, or a linear layer as a 1x1 one.

    Attributes:
        outputs, inputs: channels; inputs are those that one output reads.
        taps: of the kernel.
        places: at which it is applied, an image.
    """

    outputs: int
    inputs: int
    taps: int
    places: int

    @property
    def macs(self) -> int:
        return self.outputs * self.inputs * self.taps * self.places


@dataclass(frozen=True, slots=True)
class KernelCost:
    """Instructions of XNNPACK's int8 kernels on a kind of core.

    Fitted to the operations of ResNet-20 and of what the methods make of it, counted under QEMU by ``edgeq bench``:
    within 5 %, depthwise ones within 30 %.

    Attributes:
        channels: outputs that a kernel computes at a time, whether they are there or not.
        mac: a multiply-add.
        depthwise_mac: the same of a kernel that reads one input channel an output.
        output: scaling, rounding and storing an output.
        place: beginning at one.
        window: fetching a tap of a kernel larger than 1x1, an output.
        operation: calling one.
    """

    channels: int
    mac: float
    depthwise_mac: float
    output: float
    place: float
    window: float
    operation: float

    def instructions(self, layers: Sequence[Layer]) -> float:
        """Of layers one after the other, an image."""
        return sum(self._of(layer) for layer in layers)

    def gain(self, before: Layer, after: Sequence[Layer]) -> float:
        """Instructions saved for each multiply-add that is saved; where none is, minus infinity."""
        fall = before.macs - sum(layer.macs for layer in after)
        return (self.instructions([before]) - self.instructions(after)) / fall if fall > 0 else -math.inf

    def _of(self, layer: Layer) -> float:
        if layer.inputs == 1:
            each = layer.taps * self.depthwise_mac + self.output
        else:
            each = layer.inputs * layer.taps * self.mac + self.output + (layer.taps > 1) * layer.taps * self.window
        padded = math.ceil(layer.outputs / self.channels) * self.channels
        return layer.places * (padded * each + self.place) + self.operation


WITH_DOT_PRODUCTS: Final = KernelCost(
    16, mac=0.0793, depthwise_mac=0.65, output=1.95, place=9.0, window=0.25, operation=5500
)
WITHOUT: Final = KernelCost(8, mac=0.37, depthwise_mac=1.1, output=2.6, place=10.0, window=1.0, operation=1000)


def kernel_cost(target: Target) -> KernelCost:
    """Of the kernels that XNNPACK takes on a device: 4x16c4 with SDOT, 4x8 and the like without."""
    return WITH_DOT_PRODUCTS if "dotprod" in target.features else WITHOUT


def kernels_of(recipe: Recipe) -> KernelCost:
    """Those of the recipe's target."""
    from edgeq.targets import load_target

    return kernel_cost(load_target(recipe.target))
