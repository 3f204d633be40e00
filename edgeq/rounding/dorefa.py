"""DoReFa-Net: weights of k bits with one scale a layer, layers that read levels from 0 to 1.

The paper rounds gradients, too, which leaves no trace in a trained network; here they stay float.
Source: Zhou et al. 2016, arXiv:1606.06160, eq. 5-6 (quantize_k), 8 (one bit), 9 (more), 11 (activations).
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.grid import Grid
from edgeq.rounding.base import passing
from edgeq.rounding.binary import Binary
from edgeq.rounding.options import RoundingRecipe

__all__ = ["DoReFaWeight"]


class DoReFaWeight(Binary):
    """At 1 bit ``mean|w| sign(w)`` over the layer, the gradient passed on as it is.

    Above, ``2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1``: odd multiples of ``1 / (2^k - 1)``, which is the
    k-bit cosine grid; the gradient is that of the formula with the rounding taken for the identity.

    Args:
        weight: [O, ...].
        grid: the cosine's, of 1 to 7 bits.
        options: none of its own.
    """

    def __init__(self, weight: Tensor, grid: Grid, options: RoundingRecipe) -> None:
        super().__init__(grid)

    def size(self, weight: Tensor) -> Tensor:
        return weight.detach().abs().mean().reshape(1)

    def soft(self, weight: Tensor, size: Tensor) -> Tensor:
        return weight

    def forward(self, weight: Tensor) -> Tensor:
        if self.grid.bits == 1:
            return super().forward(weight)
        bent, most = torch.tanh(weight), self.grid.qmax
        share = bent / (2 * bent.abs().max().clamp_min(torch.finfo(torch.float32).tiny)) + 0.5
        codes = 2 * torch.round(share.detach() * most) - most
        return passing(codes * self._step(weight), 2 * share - 1)

    def scale(self, weight: Tensor) -> Tensor:
        return super().scale(weight) if self.grid.bits == 1 else self._step(weight) * self.grid.steps_in_max

    def _step(self, weight: Tensor) -> Tensor:
        return torch.full((1,), 1 / self.grid.qmax, device=weight.device)
