"""Balanced pruning by magnitude: every group of weights keeps equally many, so that no part of the hardware waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgeq.compress.masks import mask_constraint, prunable, share_of_zeros
from edgeq.compress.method import Constraint, Context, Method
from edgeq.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PruneBalanced"]


@dataclass(frozen=True, kw_only=True)
class PruneBalanced(Method):
    """Zero the smallest weights of every group, in each equally many, and keep them zero.

    Attributes:
        keep: of every ``of`` neighbours along the inputs, how many stay; 2 of 4 is what sparse tensor cores take.
        of: the neighbours; layers whose inputs are no multiple of it are left alone. 0 to go by ``sparsity``.
        sparsity: instead: the share of each processing element's weights that is zero.
        elements: processing elements that the rows of a layer (its outputs) are dealt to in turn; 0 for one a row.
        skip: layers left alone, by pattern over their names.

    Sources: Han et al. 2017, "ESE: Efficient Speech Recognition Engine with Sparse LSTM on FPGA", arXiv:1612.00694,
    section 3.2; Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378.
    """

    name: ClassVar[str] = "prune-balanced"
    keeps_zeros: ClassVar[bool] = True
    constrains: ClassVar[bool] = True

    keep: int = 0
    of: int = 0
    sparsity: float = 0.0
    elements: int = 0
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        self.require(0 <= self.sparsity < 1, "sparsity", self.sparsity, "0 or more, below 1")
        self.require((self.of > 0) != (self.sparsity > 0), "of", self.of, "one of of and sparsity, above 0")
        self.require(0 <= self.of <= 1024, "of", self.of, "0 to 1024")
        self.require(0 < self.keep < self.of if self.of else not self.keep, "keep", self.keep, "1 to less than of")
        self.require(0 <= self.elements <= 1 << 16, "elements", self.elements, "0 to 65536")
        self.require(not (self.of and self.elements), "elements", self.elements, "0 where of is given")

    def apply(self, model: nn.Module, context: Context) -> Constraint:
        masks = {}
        for path, weight in prunable(model, self.name, self.skip):
            if not self.of:
                masks[path] = _by_element(weight, self.sparsity, self.elements or len(weight))
            elif weight.shape[1] % self.of == 0:
                masks[path] = _by_neighbours(weight, self.keep, self.of)
        if not masks:
            raise ModelError("no layer's inputs are a multiple of the group", where=f"compress {self.name}: of",
                             got=self.of, remedy="choose a smaller group")  # fmt: skip
        return mask_constraint(model, masks)

    def facts(self, model: nn.Module) -> dict[str, float]:
        return {"zeros": share_of_zeros(model)}


def _by_neighbours(weight: Tensor, keep: int, of: int) -> Tensor:
    """Groups of neighbours along the second dimension: next to each other in a TFLite file, where it is the last."""
    import torch

    rows = weight.abs().movedim(1, -1)
    groups = rows.reshape(*rows.shape[:-1], -1, of)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter(-1, groups.topk(keep).indices, value=True)
    return mask.flatten(-2).movedim(-1, 1)


def _by_element(weight: Tensor, sparsity: float, elements: int) -> Tensor:
    """Row r belongs to element r modulo their number; all keep as many as the sparsity leaves the fullest one."""
    import torch

    rows, width = len(weight), weight[0].numel()
    elements = min(elements, rows)
    deep = -(-rows // elements)
    size = torch.full((deep * elements, width), -1.0)  # rows that are not there are never kept
    size[:rows] = weight.abs().flatten(1)
    parts = size.view(deep, elements, width).movedim(1, 0).flatten(1)
    least = rows // elements * width
    keep = min(max(1, round((1 - sparsity) * deep * width)), least)
    mask = torch.zeros_like(parts, dtype=torch.bool).scatter(1, parts.topk(keep).indices, value=True)
    return mask.view(elements, deep, width).movedim(0, 1).reshape(-1, width)[:rows].view(weight.shape)
