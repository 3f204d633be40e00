"""Weight sharing: the weights of a layer take few values, found by k-means and trained on."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgeq.compress.codebook import Start, codebook
from edgeq.compress.masks import prunable, share_of_zeros
from edgeq.compress.method import Constraint, Context, Method

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeq.recipe import Recipe

__all__ = ["ShareWeights"]

MOST_BITS = 8  # a code has no more


@dataclass(frozen=True, kw_only=True)
class ShareWeights(Method):
    """Give the weights of each layer that are not zero ``2^bits`` values, and keep weights together that share one.

    Zeros stay zero. In the trainings after it a shared value moves by the mean of its weights' steps: its gradient, the
    sum over them, at the rate divided by their number, which is the projection of the step and no less stable than it.

    Attributes:
        bits: of an index into the shared values of a layer.
        layer_bits: others for some layers: ``["conv*=6"]``; the first pattern that fits counts.
        start: where k-means begins: ``linear``, ``density`` or ``random``.
        skip: layers left alone, by pattern over their names.

    Source: Han et al. 2016, "Deep Compression", section 3.
    """

    name: ClassVar[str] = "share-weights"

    bits: int = 4
    layer_bits: tuple[str, ...] = ()
    start: Start = "linear"
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        self.require(1 <= self.bits <= MOST_BITS, "bits", self.bits, f"1 to {MOST_BITS}")
        for item in self.layer_bits:
            pattern, _, bits = item.rpartition("=")
            fits = bool(pattern) and bits.isdecimal() and 1 <= int(bits) <= MOST_BITS
            self.require(fits, "layer_bits", item, f"PATTERN=BITS, 1 to {MOST_BITS} bits")

    def check(self, recipe: Recipe) -> None:
        if recipe.compress[-1] is not self:
            raise self.refuse("a method after it would part weights that share a value", "put it last")
        if self.bits >= recipe.bits:
            raise self.refuse(f"a grid of {recipe.bits} bits has fewer points than 2^{self.bits} values beside zero",
                              "give it fewer bits than the grid")  # fmt: skip
        if recipe.regularizer.scale == "channel":
            raise self.refuse("a scale a channel gives equal weights different codes", "use regularizer.scale = tensor")

    def apply(self, model: nn.Module, context: Context) -> Constraint:
        groups = {}
        layers = dict(prunable(model, self.name, self.skip))
        self._check_patterns(layers)
        for path, weight in layers.items():
            groups[path] = _grouped(weight, 1 << self._bits(path), self.start, context.recipe.seed)
        return _sharing(model, groups)

    def facts(self, model: nn.Module) -> dict[str, float]:
        import numpy as np

        values = max(len(np.unique(weight.cpu().numpy())) for _, weight in prunable(model, self.name, self.skip))
        return {"values": values, "zeros": share_of_zeros(model)}

    def _bits(self, path: str) -> int:
        for item in self.layer_bits:
            pattern, _, bits = item.rpartition("=")
            if fnmatch.fnmatchcase(path, pattern):
                return int(bits)
        return self.bits

    def _check_patterns(self, layers: Iterable[str]) -> None:
        for item in self.layer_bits:
            if not fnmatch.filter(layers, item.rpartition("=")[0]):
                raise self.refuse(f"no layer is named as in layer_bits {item}", f"layers are {', '.join(layers)}")


def _grouped(weight: Tensor, count: int, start: Start, seed: int) -> Tensor:
    """Replace each weight by its shared value, in place.

    Returns:
        Which value each weight has, int64 [N]; 0 for zeros, which there need not be.
    """
    import numpy as np
    import torch

    flat = weight.cpu().numpy().ravel()
    used = flat != 0
    groups = np.zeros(flat.size, np.int64)
    if used.any():
        values = codebook(flat[used], count, start, seed)
        nearest = np.searchsorted((values[1:] + values[:-1]) / 2, flat[used])
        groups[used] = nearest + 1
        shared = np.concatenate([[0.0], values]).astype(np.float32)
        weight.copy_(torch.from_numpy(shared[groups]).view_as(weight))
    return torch.from_numpy(groups)


def _sharing(model: nn.Module, groups: dict[str, Tensor]) -> Constraint:
    """Weights of a group take their mean after each step; group 0 stays zero."""
    import torch

    from edgeq.compress.weights import trained_weight

    kept = dict(groups)

    @torch.no_grad()
    def project() -> None:
        for path, group in kept.items():
            weight = trained_weight(model, path)
            if group.device != weight.device:
                group = kept[path] = group.to(weight.device)
            sums = torch.bincount(group, weight.flatten().double())
            means = sums / torch.bincount(group).clamp(min=1)
            means[0] = 0
            weight.copy_(means.to(weight.dtype)[group].view_as(weight))

    project()
    return Constraint(project)
