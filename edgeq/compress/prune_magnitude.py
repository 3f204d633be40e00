"""Pruning by magnitude: the weights nearest to zero become zero and stay it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from edgeq.compress.masks import mask_constraint, prunable, share_of_zeros
from edgeq.compress.method import Constraint, Context, Method

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PruneMagnitude"]


@dataclass(frozen=True, kw_only=True)
class PruneMagnitude(Method):
    """Zero the weights of each layer that are smallest in size, and keep them zero.

    Attributes:
        sparsity: the share of the weights that is zero at the end; 0 to go by ``deviations``.
        across: whose: each ``layer``'s own, or the whole ``network``'s, so that layers with small weights lose more.
        deviations: prune what is smaller than so many standard deviations of its layer's weights, instead; the
            deviation is that before the first round, for what survives a round has another.
        steps: prune in so many rounds of equal shares of what is left, each followed by ``epochs`` of retraining.
        skip: layers left alone, by pattern over their names.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks", section 3.
    """

    name: ClassVar[str] = "prune-magnitude"
    keeps_zeros: ClassVar[bool] = True
    constrains: ClassVar[bool] = True

    sparsity: float = 0.0
    across: Literal["layer", "network"] = "layer"
    deviations: float = 0.0
    steps: int = 1
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        self.require(0 <= self.sparsity < 1, "sparsity", self.sparsity, "0 or more, below 1")
        self.require(0 <= self.deviations <= 10, "deviations", self.deviations, "0 to 10")
        one = (self.sparsity > 0) != (self.deviations > 0)
        self.require(one, "sparsity", self.sparsity, "one of sparsity and deviations, above 0")
        self.require(self.across == "layer" or self.sparsity > 0, "across", self.across, "layer, with deviations")
        self.require(1 <= self.steps <= 100, "steps", self.steps, "1 to 100")

    @property
    def rounds(self) -> int:
        return self.steps

    def apply(self, model: nn.Module, context: Context) -> Constraint:
        import torch

        weights = dict(prunable(model, self.name, self.skip))
        share = (context.round + 1) / self.steps
        if self.deviations:
            first = context.memory.setdefault("deviations", {path: weight.std() for path, weight in weights.items()})
            limits = {path: first[path] * self.deviations * share for path in weights}
        elif self.across == "network":
            limit = self._limit(torch.cat([weight.flatten() for weight in weights.values()]), share)
            limits = dict.fromkeys(weights, limit)
        else:
            limits = {path: self._limit(weight, share) for path, weight in weights.items()}
        most = 1 - 2**-20  # the largest weight of a layer always stays
        masks = {path: size > limits[path].clamp_max(size.max() * most) for path, size in _sizes(weights)}
        return mask_constraint(model, masks)

    def facts(self, model: nn.Module) -> dict[str, float]:
        return {"zeros": share_of_zeros(model)}

    def _limit(self, weights: Tensor, share: float) -> Tensor:
        """What a weight must exceed in size to stay."""
        import torch

        size = weights.abs().flatten()
        left = (1 - self.sparsity) ** share  # of all weights, after this round
        count = size.numel() - max(1, round(size.numel() * left))
        return torch.kthvalue(size, count).values if count else size.new_tensor(-1.0)


def _sizes(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for path, weight in weights.items():
        yield path, weight.abs()
