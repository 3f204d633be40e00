"""How many channels of each group stay, and which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.compress.channel_cut import macs_kept
from edgeq.compress.channel_graph import ChannelGraph

__all__ = ["Choice"]

Kept = NDArray[np.bool_]
HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Choice:
    """Groups of classes with what each is worth.

    Attributes:
        graph: of the network.
        groups: of its groups those that may lose channels.
        full: how many classes each group had before the first round.
        scores: float64, by class; NaN for what must stay.
        multiple: kept channels are rounded up to a multiple of it.
        minimum: of kept channels in a group.
    """

    graph: ChannelGraph
    groups: Sequence[NDArray[np.int64]]
    full: Sequence[int]
    scores: NDArray[np.float64]
    multiple: int
    minimum: int

    def by_share(self, left: float) -> Kept:
        """Keep this share of the channels that each group had at first."""
        return self._kept([count * left for count in self.full])

    def by_macs(self, budget: float) -> Kept | None:
        """Take the same share out of every group, as little as brings the multiply-adds of one image to the budget.

        None where they cannot fall so far.
        """
        low, high = 0.0, 1.0  # share that stays: enough are taken out at low, if at all
        best = self.by_share(low)
        if macs_kept(self.graph, best) > budget:
            return None
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            kept = self.by_share(middle)
            if macs_kept(self.graph, kept) <= budget:
                low, best = middle, kept
            else:
                high = middle
        return best

    def without(self, unwanted: Kept) -> Kept:
        """Take these classes out, the least first, as far as multiple and minimum allow."""
        return self._kept([len(group) - int(unwanted[group].sum()) for group in self.groups])

    def _kept(self, wanted: Sequence[float]) -> Kept:
        kept = np.ones(self.graph.classes, dtype=bool)
        for group, count in zip(self.groups, wanted, strict=True):
            stay = max(math.ceil(count - 1e-6), self.minimum)
            stay = math.ceil(stay / self.multiple) * self.multiple
            scores = self.scores[group]
            known = int(np.isfinite(scores).sum())
            order = np.argsort(scores, kind="stable")  # NaN last
            kept[group[order[: min(known, max(0, len(group) - stay))]]] = False
        for layer in self.graph.layers.values():  # a layer of a larger group could lose all of its own
            if not kept[layer.outputs].any():
                scores = np.nan_to_num(self.scores[layer.outputs], nan=np.inf)
                kept[layer.outputs[int(scores.argmax())]] = True
        return kept
