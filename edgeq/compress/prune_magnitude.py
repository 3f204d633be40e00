"""Pruning by magnitude: the weights nearest to zero become zero and stay it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgeq.compress.masks import mask_constraint, prunable, share_of_zeros
from edgeq.compress.method import Constraint, Context, Method

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PruneMagnitude"]


@dataclass(frozen=True, kw_only=True)
class PruneMagnitude(Method):
    """Zero the weights of each layer that are smallest in size, and keep them zero.

    Attributes:
        sparsity: the share of each layer's weights that is zero at the end; 0 to go by ``deviations``.
        deviations: prune what is smaller than so many standard deviations of its layer's weights, instead.
        steps: prune in so many rounds of equal shares of what is left, each followed by ``epochs`` of retraining.
        skip: layers left alone, by pattern over their names.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", section 3.
    """

    name: ClassVar[str] = "prune-magnitude"
    constrains: ClassVar[bool] = True

    sparsity: float = 0.0
    deviations: float = 0.0
    steps: int = 1
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        self.require(0 <= self.sparsity < 1, "sparsity", self.sparsity, "0 or more, below 1")
        self.require(0 <= self.deviations <= 10, "deviations", self.deviations, "0 to 10")
        one = (self.sparsity > 0) != (self.deviations > 0)
        self.require(one, "sparsity", self.sparsity, "one of sparsity and deviations, above 0")
        self.require(1 <= self.steps <= 100, "steps", self.steps, "1 to 100")

    @property
    def rounds(self) -> int:
        return self.steps

    def apply(self, model: nn.Module, context: Context) -> Constraint:
        masks = {}
        for path, weight in prunable(model, self.name, self.skip):
            limit = self._limit(weight, context.round)
            masks[path] = weight.abs() > limit
        return mask_constraint(model, self.name, masks)

    def facts(self, model: nn.Module) -> dict[str, float]:
        return {"zeros": share_of_zeros(model)}

    def _limit(self, weight: Tensor, done: int) -> Tensor:
        """What a weight must exceed in size to stay."""
        import torch

        size = weight.abs().flatten()
        share = (done + 1) / self.steps
        if self.deviations:
            return weight.std() * self.deviations * share
        left = (1 - self.sparsity) ** share  # of all weights, after this round
        count = size.numel() - max(1, round(size.numel() * left))
        return torch.kthvalue(size, count).values if count else size.new_tensor(-1.0)
