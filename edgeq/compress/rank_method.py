"""What the methods share that put smaller layers in the place of one: which layers, which ranks, the exchange."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgeq.compress.kernel_cost import KernelCost, kernels_of
from edgeq.compress.method import Context, Method
from edgeq.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeq.compress.count import Place
    from edgeq.compress.ranks import Choice, Pays
    from edgeq.compress.replacements import Replacement
    from edgeq.recipe import Recipe

__all__ = ["RankMethod"]

HALVINGS = 7  # each is a pass over the images
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class RankMethod(Method):
    """Replace layers by smaller ones whose ranks follow from one of ``energy``, ``macs`` and ``tolerance``.

    All layers keep the same share of the energy, the sum of their squared singular values. A layer whose replacement
    would not be cheaper is left alone, and so are grouped convolutions and layers used twice; the log says which.

    Attributes:
        energy: the share that is kept, above 0, up to 1.
        macs: the largest share whose network has at most this share of its multiply-adds.
        tolerance: the smallest share whose accuracy on training images falls by at most so many points, before the
            retraining.
        each: ``macs`` is a share of each layer's multiply-adds instead.
        images: how many ``tolerance`` looks at.
        multiple: ranks are rounded up to it; 0 for as many channels as the target's kernels compute at a time: 16
            where it has dot products, else 8; halved until a budget can be met.
        slope: for a budget of the network, a layer is replaced where each multiply-add saved would save at least this
            share of the instructions that one takes on the target, on average; where the budget cannot be met so, a
            share 0.05 less, and so on.
        skip: layers left alone, by pattern over their names.
    """

    energy: float = 0.0
    macs: float = 0.0
    tolerance: float = 0.0
    each: bool = False
    images: int = 1000
    multiple: int = 0
    slope: float = 0.8
    skip: tuple[str, ...] = ()

    rules: ClassVar[tuple[str, ...]] = ("energy", "macs", "tolerance")

    def check_options(self) -> None:
        self.require(0 <= self.energy <= 1, "energy", self.energy, "0 to 1")
        self.require(0 <= self.macs < 1, "macs", self.macs, "0 or more, below 1")
        self.require(0 <= self.tolerance < 100, "tolerance", self.tolerance, "0 or more points, below 100")
        given = [name for name in self.rules if getattr(self, name)]
        self.require(len(given) == 1, self.rules[0], " and ".join(given) or "none", f"one of {', '.join(self.rules)}")
        self.require(bool(self.macs) or not self.each, "each", self.each, "macs beside it")
        self.require(self.images >= 1, "images", self.images, "1 or more")
        self.require(0 <= self.multiple <= 1024, "multiple", self.multiple, "0 to 1024")
        self.require(0 <= self.slope <= 1, "slope", self.slope, "0 to 1")

    def check(self, recipe: Recipe) -> None:
        self.check_first(recipe, "the weights that it keeps would be gone")

    def apply(self, model: nn.Module, context: Context) -> None:
        candidates = self._candidates(model, context)
        choice = self._choose(model, candidates, context)
        left = [item.path for item in candidates if item.path not in choice]
        if not choice:
            raise ModelError("no layer gets cheaper", where=f"compress {self.name}", got=", ".join(left[:8]),
                             remedy="keep less, or lower multiple")  # fmt: skip
        context.progress.note(f"{self.name}: " + ", ".join(f"{path} {list(rank)}" for path, rank in choice.items()))
        if left:
            context.progress.note(f"{self.name}: left alone, as they would not get cheaper: {', '.join(left)}")
        kernels = kernels_of(context.recipe)
        slower = [item.path for item in candidates if item.path in choice
                  and kernels.gain(item.cost_now, item.costs(choice[item.path])) < 0]  # fmt: skip
        if slower:
            context.progress.warn(f"{self.name}: only the file gets smaller: on {context.recipe.target} more "
                                  f"instructions than before for {', '.join(slower)}")  # fmt: skip
        _exchange(model, candidates, choice)

    def facts(self, model: nn.Module) -> dict[str, float]:
        from edgeq.models.structure import structure_of

        return {"replaced": sum(len(layers) > 1 for layers in structure_of(model).values())}

    @abstractmethod
    def replacement(self, path: str, layer: nn.Conv2d | nn.Linear, place: Place) -> Replacement[Any] | None:
        """What may stand in the place of a dense layer; None where the method is not for it."""

    def _candidates(self, model: nn.Module, context: Context) -> list[Replacement[Any]]:
        from torch import nn as layers

        from edgeq.compress.count import places
        from edgeq.compress.masks import prunable

        standing, found, other = places(model, context.data.input_shape), [], []
        for path, _ in prunable(model, self.name, self.skip):
            layer, place = model.get_submodule(path), standing.get(path)
            if place is None or place.calls > 1 or type(layer) not in (layers.Conv2d, layers.Linear):
                other.append(path)
                continue
            assert isinstance(layer, layers.Conv2d | layers.Linear)
            made = self.replacement(path, layer, place) if _is_dense(layer) else None
            (other.append(path) if made is None else found.append(made))
        if not found:
            raise ModelError("no layer is of a kind that can be replaced", where=f"compress {self.name}",
                             got=", ".join(other[:8]), remedy="skip fewer layers, or take another method")  # fmt: skip
        if other:
            context.progress.note(f"{self.name}: left alone, as it is not for their kind: {', '.join(other)}")
        return found

    def _choose(self, model: nn.Module, candidates: Sequence[Replacement[Any]], context: Context) -> Choice:
        from edgeq.compress.ranks import keeping, smallest_share

        multiple = self.multiple or kernels_of(context.recipe).channels

        def choice_at(share: float) -> Choice:
            return keeping(candidates, share, multiple)

        if self.energy:
            return choice_at(self.energy)
        if self.macs:
            return self._within_budget(model, candidates, multiple, context)
        images, labels = context.images(self.images)
        least = _accuracy(model, images, labels) - self.tolerance

        def fits(share: float) -> bool:
            return _accuracy(_exchanged(model, candidates, choice_at(share)), images, labels) >= least

        return choice_at(smallest_share(fits, HALVINGS))

    def _within_budget(
        self, model: nn.Module, candidates: Sequence[Replacement[Any]], multiple: int, context: Context
    ) -> Choice:
        from edgeq.compress.count import count_model
        from edgeq.compress.ranks import keeping

        kernels = kernels_of(context.recipe)
        if self.each:
            found: Choice = {}
            for item in candidates:
                found |= _within([item], multiple, item.macs_now * self.macs, _saving(kernels, -math.inf)) or {}
            return found
        total = count_model(model, context.data.input_shape)["macs"]
        others = total - sum(item.macs_now for item in candidates)
        budget, slopes = total * self.macs - others, [step / 20 for step in range(round(20 * self.slope), 0, -1)]
        each = sum(kernels.instructions([item.cost_now]) for item in candidates) / (total - others)
        while True:
            for slope in (*slopes, -math.inf):
                if (fitting := _within(candidates, multiple, budget, _saving(kernels, slope * each))) is not None:
                    return fitting
            if multiple == 1 or self.multiple:
                least = (_cost(candidates, keeping(candidates, 0.0, multiple)) + others) / total
                raise ModelError(
                    "no ranks are as small",
                    where=f"compress {self.name}: macs",
                    got=self.macs,
                    wanted=f"{least:.3f} or more",
                    remedy="skip fewer layers, or lower multiple",
                )
            multiple //= 2
            context.progress.note(f"{self.name}: ranks are multiples of {multiple}, to fit into the budget")


def _saving(kernels: KernelCost, least: float) -> Pays:
    return lambda item, ranks: kernels.gain(item.cost_now, item.costs(ranks)) >= least


def _within(candidates: Sequence[Replacement[Any]], multiple: int, budget: float, pays: Pays) -> Choice | None:
    from edgeq.compress.ranks import keeping, largest_share

    share = largest_share(lambda share: _cost(candidates, keeping(candidates, share, multiple, pays)), budget)
    return None if share is None else keeping(candidates, share, multiple, pays)


def _is_dense(layer: nn.Conv2d | nn.Linear) -> bool:
    from torch import nn as layers

    if isinstance(layer, layers.Linear):
        return True
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _cost(candidates: Sequence[Replacement[Any]], choice: Choice) -> int:
    return sum(item.macs(choice[item.path]) if item.path in choice else item.macs_now for item in candidates)


def _exchange(model: nn.Module, candidates: Sequence[Replacement[Any]], choice: Choice) -> None:
    from edgeq.models.structure import replace

    for item in candidates:
        if item.path in choice:
            replace(model, item.path, item.layers(choice[item.path]))


def _exchanged(model: nn.Module, candidates: Sequence[Replacement[Any]], choice: Choice) -> nn.Module:
    twin = copy.deepcopy(model)
    _exchange(twin, candidates, choice)
    return twin


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In percent."""
    import torch

    with torch.no_grad():
        parts = [slice(start, start + BATCH) for start in range(0, len(labels), BATCH)]
        correct = sum(int((model(images[part]).argmax(1) == labels[part]).sum()) for part in parts)
    return 100 * correct / len(labels)
