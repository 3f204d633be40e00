"""What a layer of one or few bits reads: the sign of its input about its mean, or levels from 0 to 1.

Both stand in the layer itself, as ``LAYER.activation``, before its input: the network's own code is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeq.rounding.base import passing
from edgeq.rounding.binary import signs

__all__ = ["Levels", "SignAboutMean", "put_before", "rounds_activations", "unrounded"]

CODE_MAX, CODE_MIN = 127, -128


class SignAboutMean(nn.Module):
    """``sign(batch_norm(x))`` with sign(0) = 1: XNOR-Net's order, a batch norm without gamma and beta before it.

    In evaluation it is ``x >= mean`` of each channel. So a network with ReLU, whose values are never negative, has
    signs as well. The gradient passes where the normalized value is in [-1, 1].

    Args:
        channels: of the input.
        images: the input is [N, C, H, W]; else its channels are last.
        scales: the layer's outputs are multiplied by what the signs lose: K of section 3.2, the mean size of the
            normalized input over all that the layer sees at a place.

    Source: Rastegari et al. 2016, section 3.2 and figure 3; Hubara et al. 2016, eq. 4.
    """

    def __init__(self, channels: int, *, images: bool, scales: bool = False) -> None:
        super().__init__()
        self.channels, self.images, self.scales, self.rounds = channels, images, scales, True
        self._sizes: list[Tensor] = []  # from the layer's input to its output
        self.norm = (nn.BatchNorm2d if images else nn.BatchNorm1d)(channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm.training or self.scales:
            rows = x if self.images else x.flatten(0, -2)
            normalized = self.norm(rows).reshape(x.shape)
        if self.scales:
            self._sizes.append(normalized.abs().mean(1 if self.images else -1, keepdim=True))
        if self.norm.training:
            return passing(signs(normalized), normalized.clamp(-1, 1))
        mean = self.norm.running_mean
        assert mean is not None
        mean = mean.reshape(-1, 1, 1) if self.images else mean
        return torch.where(x >= mean, 1.0, -1.0) if self.rounds else (x - mean).clamp(-1, 1)

    def scale(self, layer: Any, outputs: Tensor) -> Tensor:
        """The outputs of its layer for the last input, times K."""
        size = self._sizes.pop()
        if self.images:
            size = nn.functional.avg_pool2d(size, layer.kernel_size, layer.stride, layer.padding)
        return outputs * size


class Levels(nn.Module):
    """``round(n clip(x, 0, 1)) / n`` with ``n = 2^bits - 1``; the gradient passes within [0, 1].

    On the int8 grid of step ``1/n`` that ends at 1, with code 127: in the artifact this is the rounding and the
    saturation of the operation before, fused with its ReLU.

    Args:
        bits: 1 to 8.

    Source: Zhou et al. 2016, eq. 5, 6 and 11.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"levels of {bits} bits")
        self.bits, self.count, self.rounds = bits, 2**bits - 1, True

    def forward(self, x: Tensor) -> Tensor:
        if not self.rounds:
            return x.clamp(0, 1)
        # In evaluation the grid itself ends at 1.
        bounded = x.clamp(0, 1) if self.training else torch.relu(x)
        zero = CODE_MAX - self.count
        return torch.fake_quantize_per_tensor_affine(bounded.float(), 1 / self.count, zero, CODE_MIN, CODE_MAX)


def rounds_activations(model: nn.Module) -> bool:
    """Whether some layer of a network reads signs or levels."""
    return any(isinstance(module, Levels | SignAboutMean) for module in model.modules())


@contextmanager
def unrounded(model: nn.Module) -> Iterator[None]:
    """Let layers read what is bounded but not rounded, in evaluation: a network whose outputs follow its inputs.

    Where it rounds, sums in another order put a value on the other side now and then, and the layers behind make much
    of it: two that compute the same need not agree.
    """
    parts = [module for module in model.modules() if isinstance(module, Levels | SignAboutMean)]
    for part in parts:
        part.rounds = False
    try:
        yield
    finally:
        for part in parts:
            part.rounds = True


def put_before(layer: nn.Module, activation: nn.Module) -> None:
    """Let a layer read what an activation makes of its input; the one that it had before is replaced.

    Raises:
        ValueError: the layer has an ``activation`` of its own.
    """
    known = getattr(layer, "activation", None)
    if known is None:
        layer.register_forward_pre_hook(_read_activation)
        layer.register_forward_hook(_scale_outputs)
    elif not isinstance(known, Levels | SignAboutMean):
        raise ValueError("a layer that has something of the name activation")
    layer.activation = activation.train(layer.training)


def _read_activation(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.activation(inputs[0]), *inputs[1:])


def _scale_outputs(layer: Any, inputs: tuple[Any, ...], outputs: Tensor) -> Tensor | None:
    activation = layer.activation
    return activation.scale(layer, outputs) if isinstance(activation, SignAboutMean) and activation.scales else None
