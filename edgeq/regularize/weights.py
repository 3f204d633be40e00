"""The weights that the periodic term is over, and the scale of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeq.rounding.base import Rounding, rounding_of

__all__ = ["Group", "Weight", "find_weights"]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


@dataclass(slots=True)
class Weight:
    """One regularized parameter.

    Attributes:
        layer: path of its module in the network.
        parameter: [O, ...], or [I, O/groups, ...] for a transposed convolution.
        groups: of a transposed convolution; 0 for all other layers.
        frequency: f, of the layer's own bits where it has some.
        held: what :meth:`peak` gives from now on, whatever the weights are.
        rounding: what rounds it in the forward pass, with a scale of its own; None where nothing does.
        beneath: the weight that gradients add up in, while the parameter is its pulled copy; None where it is not one.
    """

    layer: str
    parameter: nn.Parameter
    groups: int
    frequency: float = 1.0
    held: Tensor | None = None
    rounding: Rounding | None = None
    beneath: Tensor | None = None

    def peak(self, per_channel: bool, *, differentiate: bool = False) -> Tensor:
        """``c = max|w|``, or the held or learned one: [] or one an output channel, shaped to broadcast over it.

        The first has a gradient where ``differentiate`` is set, which weights of the same size share evenly.
        """
        if self.held is not None:
            return self.held
        if self.rounding is not None:
            scale = self.rounding.scale(self.parameter.detach()).detach()
            return scale.reshape(-1, *[1] * (self.parameter.dim() - 1)) if scale.numel() > 1 else scale.reshape(())
        magnitude = (self.parameter if differentiate else self.parameter.detach()).abs()
        return self._over(magnitude, per_channel, lambda values, axes: values.amax(axes, keepdim=True))

    def mean(self, per_channel: bool) -> Tensor:
        """The mean of ``|w|``, shaped like :meth:`peak`."""
        magnitude = self.parameter.detach().abs()
        return self._over(magnitude, per_channel, lambda values, axes: values.mean(axes, keepdim=True))

    def add_through_peak(self, gradient: Tensor, per_channel: bool) -> None:
        """Add to a gradient, of the weight's shape, what reaches the largest weights through ``c = max|w|``.

        A function of ``w / c`` alone has ``dR/dc = -sum(w dR/dw) / c``: its gradient is orthogonal to the weight.
        """
        if self.held is None and self.rounding is None:
            values = self.parameter.detach().to(gradient.dtype)
            peak = self.peak(per_channel).to(gradient.dtype)
            largest = torch.where(values.abs() == peak, values.sign(), 0.0)
            moment, count = (self.total(part, per_channel) for part in (gradient * values, largest.abs()))
            gradient.sub_(torch.where(peak > 0, moment / (peak * count), 0.0) * largest)

    def total(self, values: Tensor, per_channel: bool) -> Tensor:
        """The sum of values, one an element, over what shares a scale; shaped like :meth:`peak`."""
        return self._over(values, per_channel, lambda part, axes: part.sum(axes, keepdim=True))

    def _over(self, values: Tensor, per_channel: bool, reduce: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
        if not per_channel:
            return reduce(values, list(range(values.dim()))).reshape(())
        if not self.groups:
            return reduce(values, list(range(1, values.dim())))
        inputs, outputs = values.shape[:2]  # [I, O/groups, K...]: a group's inputs lie together
        grouped = values.reshape(self.groups, inputs // self.groups, outputs, -1)
        found = reduce(grouped, [1, 3]).expand(-1, inputs // self.groups, -1, -1)
        return found.reshape(inputs, outputs, *[1] * (values.dim() - 2))


@dataclass(slots=True)
class Group:
    """Weights that share a device and a working dtype, worked on as one flat buffer."""

    weights: list[Weight]
    device: torch.device
    dtype: torch.dtype

    @property
    def parameters(self) -> list[Tensor]:
        return [weight.parameter for weight in self.weights]


def find_weights(model: nn.Module) -> Iterator[Weight]:
    """Every convolution and linear weight of a network; one that layers share, once."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, _LAYERS):
            continue
        rounding = rounding_of(module)
        weight = module.weight if rounding is None else module.parametrizations["weight"].original  # type: ignore[index, union-attr]
        if isinstance(weight, nn.Parameter) and id(weight) not in seen:
            seen.add(id(weight))
            transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
            groups = int(getattr(module, "groups", 0)) if transposed else 0
            yield Weight(name, weight, groups, rounding=rounding)
