"""Depthwise separable convolutions: N x N each channel for itself, followed by 1x1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.compress.method import Context
from edgeq.compress.rank_method import RankMethod

if TYPE_CHECKING:
    from torch import nn

    from edgeq.compress.count import Place
    from edgeq.compress.ranks import Choice
    from edgeq.compress.replacements import Replacement

__all__ = ["DepthwiseSeparable"]


@dataclass(frozen=True, kw_only=True)
class DepthwiseSeparable(RankMethod):
    """Make each N x N convolution a depthwise one, whose filters an input channel are the rank, and a 1x1 one.

    The filters of an input channel are the best for what that channel gives to all outputs. Ranks are not rounded
    unless ``multiple`` is given: they multiply the channels.

    Attributes:
        multiplier: the rank of all layers, instead of the other rules.

    Source: Howard et al. 2017, arXiv:1704.04861, section 3.1, for the layers; Guo et al. 2018, arXiv:1808.05517, for
    the decomposition, exact at N^2 filters a channel.
    """

    name: ClassVar[str] = "depthwise-separable"
    rules: ClassVar[tuple[str, ...]] = ("multiplier", "energy", "macs", "tolerance")

    multiplier: int = 0
    multiple: int = 1

    def check_options(self) -> None:
        super().check_options()
        self.require(0 <= self.multiplier <= 64, "multiplier", self.multiplier, "0 to 64")

    def replacement(self, path: str, layer: nn.Conv2d | nn.Linear, place: Place) -> Replacement[Any] | None:
        from torch import nn as layers

        from edgeq.compress.replacements import Depthwise

        if not isinstance(layer, layers.Conv2d) or max(layer.kernel_size) < 2 or layer.in_channels < 2:
            return None
        return Depthwise(path, layer, place)

    def _choose(self, model: nn.Module, candidates: Sequence[Replacement[Any]], context: Context) -> Choice:
        if not self.multiplier:
            return super()._choose(model, candidates, context)
        pairs = [(item, (min(self.multiplier, len(item.spectra[0])),)) for item in candidates]
        return {item.path: ranks for item, ranks in pairs if item.macs(ranks) < item.macs_now}
