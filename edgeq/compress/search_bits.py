"""Bits by layer as a stage of a recipe: the fewest that keep the accuracy, and a retraining with them.

Source: Judd et al. 2016, "Reduced-Precision Strategies for Bounded Memory in Deep Neural Nets", arXiv:1511.05236; the
search is that of :mod:`edgeq.widths`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeq.compress.method import Constraint, Context, Method
from edgeq.rounding.table import GRID_METHODS

if TYPE_CHECKING:
    from torch import nn

    from edgeq.recipe import Recipe

__all__ = ["SearchBits"]


@dataclass(frozen=True, kw_only=True)
class SearchBits(Method):
    """Give each layer as few bits as keep the network's accuracy, before it is trained for them.

    Layers that ``[layers]`` gives bits keep them. Where it gives bits to all, as in a build's ``recipe.toml``, there is
    nothing to search.

    Attributes:
        tolerance: points of accuracy that may be lost before the retraining, on images that choose.
        samples: images that choose: those left out by ``train.validation``, or else training images.
        budget: the most measurements of the network.
    """

    name = "search-bits"
    constrains = True
    finds_bits = True

    tolerance: float = 1.0
    samples: int = 512
    budget: int = 400

    def check_options(self) -> None:
        self.require(0 <= self.tolerance <= 100, "tolerance", self.tolerance, "0 to 100 points")
        self.require(self.samples >= 1, "samples", self.samples, "1 or more")
        self.require(self.budget >= 1, "budget", self.budget, "1 or more")

    def check(self, recipe: Recipe) -> None:
        if recipe.method not in GRID_METHODS:
            raise self.refuse(f"the method {recipe.method} has its own bits", f"take {', '.join(GRID_METHODS)}")
        if recipe.task != "classify":
            raise self.refuse(f"the task {recipe.task} has no accuracy", "leave it out")
        if sum(method.name == self.name for method in recipe.compress) > 1:
            raise self.refuse("bits are searched once", "name it once")

    def apply(self, model: nn.Module, context: Context) -> Constraint:
        from edgeq.snap import quantized_layers, snap
        from edgeq.widths.search import least_traffic
        from edgeq.widths.source import start_search

        recipe, plan = context.recipe, context.recipe.plan
        integer = [name for name in quantized_layers(model) if plan.grid_of(name) is not None]
        searched = [name for name in integer if not plan.has_bits(name)]
        if not searched:
            return Constraint(lambda: None)
        tried, per_channel = copy.deepcopy(model), recipe.regularizer.scale == "channel"
        given = set(integer) - set(searched)
        snap(
            tried,
            recipe.grid,
            per_channel=per_channel,
            grid_of=lambda name: plan.grid_of(name) if name in given else None,
        )
        start = start_search(tried, recipe, context.data, samples=self.samples, where=recipe.model, names=searched)
        states = start.search(self.tolerance, data_bits=False, budget=self.budget, progress=context.progress)
        if not states:
            raise start.too_few(self.tolerance, f"compress {self.name}")
        widths = least_traffic(states).widths
        layers = {layer.name: bits for layer, (bits, _) in zip(start.trial.layers, widths, strict=True)}
        return Constraint(lambda: None, bits=layers)
