"""Low rank: a matrix as two factors by SVD, a kernel as 1x1, k x k and 1x1 by Tucker-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.compress.rank_method import RankMethod

if TYPE_CHECKING:
    from torch import nn

    from edgeq.compress.count import Place
    from edgeq.compress.replacements import Replacement

__all__ = ["LowRank"]


@dataclass(frozen=True, kw_only=True)
class LowRank(RankMethod):
    """Factor each layer into thinner ones: a linear layer or 1x1 convolution into two, another convolution into three.

    Source: Denton et al. 2014, arXiv:1404.0736 (SVD); Kim et al. 2016, arXiv:1511.06530 (Tucker-2).
    """

    name: ClassVar[str] = "low-rank"

    def replacement(self, path: str, layer: nn.Conv2d | nn.Linear, place: Place) -> Replacement[Any]:
        from edgeq.compress.replacements import low_rank_of

        return low_rank_of(path, layer, place)
