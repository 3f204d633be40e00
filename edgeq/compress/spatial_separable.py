"""Spatially separable convolutions: 1 x N followed by N x 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.compress.rank_method import RankMethod

if TYPE_CHECKING:
    from torch import nn

    from edgeq.compress.count import Place
    from edgeq.compress.replacements import Replacement

__all__ = ["SpatialSeparable"]


@dataclass(frozen=True, kw_only=True)
class SpatialSeparable(RankMethod):
    """Make each N x N convolution a row of 1 x N and a column of N x 1, with as many channels between as the rank.

    Attributes:
        relu: a ReLU between the two, as in DecomposeMe. The factors then no longer approximate the layer, so that the
            retraining has to find more; without it they do, and the network is nearly as good at once.

    Source: Jaderberg et al. 2014, arXiv:1405.3866, section 2.2 (scheme 2); Alvarez and Petersson 2016,
    arXiv:1606.05426.
    """

    name: ClassVar[str] = "spatial-separable"

    relu: bool = False

    def replacement(self, path: str, layer: nn.Conv2d | nn.Linear, place: Place) -> Replacement[Any] | None:
        from torch import nn as layers

        from edgeq.compress.replacements import Spatial

        if not isinstance(layer, layers.Conv2d) or min(layer.kernel_size) < 2:
            return None
        return Spatial(path, layer, place, relu=self.relu)
