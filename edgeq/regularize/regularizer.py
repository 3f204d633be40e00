"""The periodic term over a network's weights (eq. 7-9): its value, its gradient in closed form, and its decoupled form.

The phase ``u = f w / c`` is taken in float64: near f = 127 a float32 phase is wrong by 1e-5 periods, which a grid of 8
bits notices. It is reduced to the distance from the nearest grid point before the step back to float32. Devices without
float64 (Apple's mps) stay in float32 and have that error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from edgeq.errors import ModelError, RecipeError
from edgeq.grid import Function, Grid, bits_to_frequency
from edgeq.regularize.functions import FUNCTIONS
from edgeq.regularize.scales import bring_back, check_scales, hold, learn
from edgeq.regularize.weights import Group, Weight, find_weights

__all__ = ["PeriodicRegularizer", "RegularizerLog", "Scale"]

Scale = Literal["tensor", "channel"]

ON_GRID_STEPS: Final = 0.05
PULLS: Final = 4


@dataclass(frozen=True, slots=True)
class RegularizerLog:
    """Where the weights are, as 0-dim tensors on their device, so that nothing waits for it until they are read.

    Attributes:
        value: the term of eq. (8) or (9), amplitude included.
        distance: mean distance from the nearest grid point, in steps, 0 to 0.5; undisturbed weights have about 0.25.
        share_on_grid: share of the weights within 0.05 steps of a grid point, 0 to 1; undisturbed about 0.1.
    """

    value: Tensor
    distance: Tensor
    share_on_grid: Tensor


class PeriodicRegularizer:
    """The periodic term over all convolution and linear weights of a network, first and last layers included.

    In anyone's loop::

        regularizer = PeriodicRegularizer(model, bits=8, amplitude=1e-4)
        loss.backward()
        regularizer.add_gradient()  # before optimizer.step()

    or, decoupled from the loss as AdamW's decay is::

        optimizer.step()
        regularizer.pull(eta)

    The gradient's effect depends on the rate, on f and on c, and an optimizer is stable only below a curvature of
    ``2 a (pi f / c)^2``. A pull moves a weight near its point by the share eta of its distance, whatever these are.

    ``c = max|w|`` is taken as a constant. Through the max, the gradient of all other weights is summed onto the single
    largest one, which itself lies on the grid (sine, hat) whatever its size: it stretches or shrinks the whole range,
    for no weight's sake. The paper's snippet does not detach, its text does not say: ``differentiate_scale`` does so.

    With gradient accumulation call :meth:`add_gradient` once an optimizer step, with a GradScaler after ``unscale_``,
    and before gradients are clipped. Frozen weights (``requires_grad`` False at the call) are left out; tied ones count
    once. Under data parallelism every process adds the same gradient to the averaged one.

    Args:
        model: the network; its layers are looked up now, their weights read at each call.
        function: ``sine``, ``cosine`` or ``hat``.
        bits: bits a weight.
        amplitude: a of eq. (8) and (9), 0 or more.
        scale: ``tensor`` (one c a layer, as in the paper) or ``channel`` (one an output channel).
        leave: paths of layers that are left as they are.
        layer_bits: other bits for layers, by path. Such a layer has an f of its own, and an amplitude in proportion to
            1 / f^2, so that the term is as steep about its points as about those of all others.
        differentiate_scale: let the gradient go through the max too, while c is ``max|w|``.

    Attributes:
        amplitude: may be set at any time; 0 adds nothing.

    Raises:
        RecipeError: an argument is out of range.
        ModelError: the network has no layer to regularize, or none of a name in ``layer_bits``.

    Source: eq. (7)-(13) of Naumov et al. 2018; the derivative of eq. (8) is ``a pi f / c sin(2 pi f w / c)``.
    """

    amplitude: float

    def __init__(
        self,
        model: nn.Module,
        *,
        function: Function = "sine",
        bits: int = 8,
        amplitude: float = 1e-3,
        scale: Scale = "tensor",
        leave: Container[str] = (),
        layer_bits: Mapping[str, int] = MappingProxyType({}),
        differentiate_scale: bool = False,
    ) -> None:
        if scale not in get_args(Scale):
            raise RecipeError("unknown scale", where="regularizer.scale", got=scale, wanted="tensor or channel")
        if not 0 <= amplitude < math.inf:
            raise RecipeError("out of range", where="regularizer.amplitude", got=amplitude, wanted="0 or more")
        self.amplitude = amplitude
        self._function, self._name = FUNCTIONS[function], function
        self._per_channel = scale == "channel"
        self._differentiates = differentiate_scale
        self._learns = False
        self._weights = [weight for weight in find_weights(model) if weight.layer not in leave]
        if not self._weights:
            raise ModelError(
                "the network has no weights to regularize",
                where=type(model).__name__,
                wanted="a Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d or Linear layer",
            )
        self._frequency = float(bits_to_frequency(bits, function))
        self.layer_bits = layer_bits

    @property
    def frequency(self) -> float:
        """f of layers without bits of their own; may be set at any time, to a fraction also."""
        return self._frequency

    @frequency.setter
    def frequency(self, value: float) -> None:
        self._frequency = value
        for weight in self._weights:
            if weight.layer not in self._layer_bits:
                weight.frequency = value

    @property
    def layer_bits(self) -> Mapping[str, int]:
        """The bits of layers that have their own, by path; may be set at any time."""
        return self._layer_bits

    @layer_bits.setter
    def layer_bits(self, bits: Mapping[str, int]) -> None:
        known = {weight.layer: weight for weight in self._weights}
        if unknown := [layer for layer in bits if layer not in known]:
            raise ModelError("has no weights to regularize", where=f"layer {unknown[0]}", wanted=", ".join(known))
        self._layer_bits = dict(bits)
        self.frequency = self._frequency
        for layer, own in bits.items():
            known[layer].frequency = bits_to_frequency(own, self._name)

    @torch.no_grad()
    def add_gradient(self) -> RegularizerLog:
        """Add the term's gradient to ``p.grad`` of every weight; call between ``backward`` and ``optimizer.step``.

        Returns:
            The term before this step.
        """
        return self._pass(self._add if self.amplitude else None)

    @torch.no_grad()
    def pull(self, eta: float) -> RegularizerLog:
        """Move every weight towards its nearest grid point; call after ``optimizer.step``.

        With the sine and cosine ``w <- w - eta c / (2 pi f) sin(2 pi f w / c)``; with the hat by ``eta / 2`` steps, or
        to the point where that is nearer. With a held scale, weights beyond it are brought back to it first.

        Args:
            eta: 0 (nothing) to 1 (near a point, all the way).

        Returns:
            The weights before this pull.

        Raises:
            RecipeError: eta is not 0 to 1.
        """
        _check_eta(eta)
        self.clip()
        return self._pass(lambda group, scales, residual: self._move(group, scales, residual, eta) if eta else None)

    @torch.no_grad()
    def hold_scale(
        self,
        clip: float | None = None,
        grid: Grid | None = None,
        layer_clips: Mapping[str, float | None] = MappingProxyType({}),
    ) -> None:
        """Keep c as it is from now on, so that the grid stays where it is while weights move.

        Args:
            clip: take ``c = clip * mean|w|`` where that is below ``max|w|``; :meth:`pull` brings larger weights back to
                it. A grid of few points fits the many small weights better so. None keeps ``max|w|``.
            grid: take the c near that at which this grid's step, or that of the same with a layer's own bits, is a
                power of two.
            layer_clips: by path, what layers have in the place of ``clip``.
        """

        def grid_of(layer: str) -> Grid | None:
            own = self._layer_bits.get(layer)
            return grid if grid is None or own is None else dataclasses.replace(grid, bits=own)

        hold(self._weights, self._per_channel, lambda layer: layer_clips.get(layer, clip), grid_of)
        self.clip()

    @torch.no_grad()
    def learn_scale(self, rate: float) -> None:
        """Move every held c down the loss's gradient; call between ``backward`` and ``optimizer.step``.

        Args:
            rate: the optimizer's, with momentum m divided by 1 - m.
        """
        self._learns = True
        learn(self._weights, self._function.offset, rate)

    @torch.no_grad()
    def place(self, eta: float) -> RegularizerLog:
        """Let the network compute with pulled weights and keep those beneath, to which :meth:`take_back` returns.

        ::

            loss.backward()
            regularizer.take_back()
            optimizer.step()
            regularizer.place(eta)

        Gradients at the pulled weights add up in those beneath, which can so move from one point to another however
        strong the pull is. Those beneath that are beyond a held scale are brought back to it; one that is learned may
        come back to them instead.

        Args:
            eta: of each of four pulls, 0 to 1; at 1 weights are put on their points, where more pulls would lead.

        Returns:
            The weights beneath.

        Raises:
            RecipeError: eta is not 0 to 1.
        """
        _check_eta(eta)
        if not self._learns:
            self.clip()
        log = self.measure()
        for weight in self._weights:
            weight.beneath = weight.parameter.detach().clone()
        if self._learns:
            self.clip()
        if eta >= 1:
            self._pass(self._put_on_points)
        for _ in range(PULLS if eta < 1 else 0):
            self.pull(eta)
        return log

    @torch.no_grad()
    def take_back(self) -> None:
        """Return to the weights beneath, where there are any."""
        for weight in self._weights:
            if weight.beneath is not None:
                weight.parameter.copy_(weight.beneath)
                weight.beneath = None

    @property
    def weights_beneath(self) -> dict[str, Tensor]:
        """What :meth:`take_back` would return to, by layer, for a checkpoint; empty where it would do nothing."""
        return {weight.layer: weight.beneath for weight in self._weights if weight.beneath is not None}

    @weights_beneath.setter
    def weights_beneath(self, found: Mapping[str, Tensor]) -> None:
        for weight in self._weights:
            kept = found.get(weight.layer)
            if kept is not None and kept.shape != weight.parameter.shape:
                got, wanted = list(kept.shape), list(weight.parameter.shape)
                raise ModelError(
                    "the weights are another network's", where=f"layer {weight.layer}", got=got, wanted=wanted
                )
            weight.beneath = None if kept is None else torch.empty_like(weight.parameter).copy_(kept)

    @property
    def held_scales(self) -> dict[str, Tensor]:
        """The c that :meth:`hold_scale` keeps, by layer, for a checkpoint; empty while c follows the weights."""
        return {weight.layer: weight.held for weight in self._weights if weight.held is not None}

    @held_scales.setter
    def held_scales(self, scales: Mapping[str, Tensor]) -> None:
        for weight in self._weights:
            weight.held = None
        if scales:
            check_scales(self._weights, scales, self._per_channel)
            for weight in self._weights:
                weight.held = scales[weight.layer].to(weight.parameter)

    @torch.no_grad()
    def clip(self) -> None:
        """Bring weights back to the outermost points of a held grid: c, but for the cosine c less half a step."""
        bring_back(self._weights, self._function.offset)

    @torch.no_grad()
    def measure(self) -> RegularizerLog:
        """What :meth:`add_gradient` returns, without adding anything."""
        return self._pass(None)

    def value(self) -> float:
        """The term of eq. (8) or (9), amplitude included. Waits for the device."""
        return float(self.measure().value)

    def loss(self) -> Tensor:
        """The term as a float32 or float64 scalar with an autograd graph; slower than :meth:`add_gradient`.

        Add it to the loss or call :meth:`add_gradient`, not both.
        """
        terms = []
        for group in self._groups():
            for weight, scale, alive in zip(group.weights, *self._scales(group), strict=True):
                phase = weight.parameter.to(scale.dtype) * scale
                terms.append((self._function.value(phase) * alive).sum() * self._steepness(weight))
        if not terms:
            return torch.zeros(())
        total = torch.stack([term.to(terms[0].device) for term in terms]).sum() * self.amplitude
        return total.to(torch.promote_types(self._weights[0].parameter.dtype, torch.float32))

    def _groups(self) -> list[Group]:
        groups: dict[tuple[torch.device, torch.dtype], Group] = {}
        for weight in self._weights:
            parameter = weight.parameter
            if parameter.requires_grad and parameter.numel():
                dtype = torch.promote_types(parameter.dtype, torch.float32)
                key = (parameter.device, dtype)
                groups.setdefault(key, Group([], *key)).weights.append(weight)
        return list(groups.values())

    def _scales(self, group: Group) -> tuple[list[Tensor], list[Tensor]]:
        """``f / c`` of each weight in the phase's dtype, 0 where c is 0, and whether it is not; each broadcasts."""
        dtype = torch.float32 if group.device.type == "mps" else torch.float64
        peaks = [weight.peak(self._per_channel, differentiate=self._differentiates) for weight in group.weights]
        flat = torch.cat([peak.reshape(-1) for peak in peaks]).to(dtype)
        alive = flat >= torch.finfo(torch.float32).tiny
        sizes = [peak.numel() for peak in peaks]
        scale = torch.where(alive, self._frequencies(group, sizes, flat) / flat, 0.0)
        shapes = [peak.shape for peak in peaks]
        return _split(scale, sizes, shapes), _split(alive.to(dtype), sizes, shapes)

    def _frequencies(self, group: Group, sizes: list[int], like: Tensor) -> Tensor | float:
        """f of each scale of a group."""
        if not self._layer_bits:
            return self.frequency
        found = [[weight.frequency] * size for weight, size in zip(group.weights, sizes, strict=True)]
        return torch.tensor([value for values in found for value in values], dtype=like.dtype, device=like.device)

    def _steepness(self, weight: Weight) -> float:
        """Of a layer's amplitude, over that of the layers without bits of their own."""
        return (self.frequency / weight.frequency) ** 2

    def _pass(self, act: Callable[[Group, list[Tensor], Tensor], None] | None) -> RegularizerLog:
        groups = self._groups()
        device = groups[0].device if groups else torch.device("cpu")
        count = sum(parameter.numel() for group in groups for parameter in group.parameters)
        sums = torch.zeros(3, device=device)
        for group in groups:
            scales, alive = self._scales(group)
            residual = self._residual(group, scales, alive)
            sums = sums + self._sums(group, residual).to(device)
            if act is not None:
                act(group, scales, residual)
        value, distance, on_grid = (sums / max(count, 1)).unbind()
        return RegularizerLog(value * (count * self.amplitude), distance, on_grid)

    def _residual(self, group: Group, scales: list[Tensor], alive: list[Tensor]) -> Tensor:
        """Distance of all weights from their grid points, in steps, as one flat tensor of the working dtype."""
        parameters = group.parameters
        size = sum(parameter.numel() for parameter in parameters)
        phase = torch.empty(size, dtype=scales[0].dtype, device=group.device)
        views = _views(phase, parameters)
        torch._foreach_copy_(views, parameters)
        torch._foreach_mul_(views, scales)
        if self._function.offset:  # a layer of zeros has no grid: it is left at phase 0, the point itself
            torch._foreach_sub_(views, [self._function.offset * flag for flag in alive])
        return phase.sub_(torch.round(phase)).to(group.dtype)

    def _sums(self, group: Group, residual: Tensor) -> Tensor:
        """Sums of value, distance and on-grid flags, float32 [3]."""
        distance, values = residual.abs(), self._function.value_at(residual)
        on_grid = torch.count_nonzero(distance < ON_GRID_STEPS)
        if self._layer_bits:
            torch._foreach_mul_(_views(values, group.parameters), [self._steepness(item) for item in group.weights])
        return torch.stack([values.sum(), distance.sum(), on_grid]).float()

    def _add(self, group: Group, scales: list[Tensor], residual: Tensor) -> None:
        parameters = group.parameters
        views = _views(self._function.derivative_at(residual), parameters)
        amplitudes = [self.amplitude * self._steepness(weight) for weight in group.weights]
        torch._foreach_mul_(views, [(s * a).to(group.dtype) for s, a in zip(scales, amplitudes, strict=True)])
        if self._differentiates:
            for weight, view in zip(group.weights, views, strict=True):
                weight.add_through_peak(view, self._per_channel)
        present = [(p, view) for p, view in zip(parameters, views, strict=True) if p.grad is not None]
        for parameter, view in zip(parameters, views, strict=True):
            if parameter.grad is None:
                parameter.grad = view.to(parameter.dtype).clone()
        if present:
            torch._foreach_add_([p.grad for p, _ in present if p.grad is not None], [view for _, view in present])

    def _move(self, group: Group, scales: list[Tensor], residual: Tensor, eta: float) -> None:
        self._go(group, scales, self._function.pull_at(residual, eta))

    def _put_on_points(self, group: Group, scales: list[Tensor], residual: Tensor) -> None:
        self._go(group, scales, residual)

    def _go(self, group: Group, scales: list[Tensor], steps: Tensor) -> None:
        """Subtract so many steps of the grid from the weights."""
        parameters = group.parameters
        views = _views(steps, parameters)
        lengths = [torch.where(scale > 0, 1 / scale, 0.0).to(group.dtype) for scale in scales]
        torch._foreach_mul_(views, lengths)
        torch._foreach_sub_(parameters, [view.to(p.dtype) for view, p in zip(views, parameters, strict=True)])


def _check_eta(eta: float) -> None:
    if not 0 <= eta <= 1:
        raise RecipeError("out of range", where="regularizer.eta", got=eta, wanted="0 to 1")


def _split(flat: Tensor, sizes: list[int], shapes: Iterable[torch.Size]) -> list[Tensor]:
    return [part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]


def _views(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Parts of a flat buffer with the shapes and, where dense, the memory formats of ``like``."""
    views, start = [], 0
    for tensor in like:
        dense = tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)
        stride = tensor.stride() if dense else torch.empty(tensor.shape, device="meta").stride()
        views.append(flat.as_strided(tensor.shape, stride, start))
        start += tensor.numel()
    return views
