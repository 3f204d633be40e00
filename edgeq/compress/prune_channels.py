"""Pruning of channels: whole filters and units go, with all that reads them, so that the file and its work shrink."""

from __future__ import annotations

import dataclasses
import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from edgeq.compress.kernel_cost import kernels_of
from edgeq.compress.method import Context, Method
from edgeq.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from edgeq.compress.channel_choice import Choice
    from edgeq.compress.channel_graph import ChannelGraph
    from edgeq.recipe import Recipe

__all__ = ["PruneChannels"]

VALUES_AT_ONCE = 1 << 18  # pixels of a batch: what is read of a 224x224 ResNet-50 stays below 1 GB


@dataclass(frozen=True, kw_only=True)
class PruneChannels(Method):
    """Take the channels out of each layer that are worth least; channels that are added to each other go together.

    Attributes:
        criterion: what a channel is worth: ``magnitude`` (the sum of its filter's absolute weights), ``activation``
            (how often it is not zero), or ``fisher`` (by how much the loss is expected to rise without it).
        share: of each layer's channels, taken out by the end.
        macs: instead: the share of the network's multiply-adds that is left at the end; all layers lose alike.
        active: instead, by ``activation``: take out what is not zero in at most this share of places; 0 is never.
        outliers: instead, by ``activation``: take out what is active less often than its group's mean less so many
            standard deviations; the thesis takes 2.
        distortion: first add noise of this strength to the weights, so that units that share a feature part.
        multiple: kept channels are rounded up to a multiple of it; 0 for as many as the target's kernels compute at a
            time: 16 where it has dot products, else 8; halved until ``macs`` can be met.
        minimum: of channels that are left in a layer.
        samples: training images that are looked at.
        steps: rounds, each followed by ``epochs`` of retraining. ``share`` and ``macs`` are reached in the last, by
            equal factors; ``active`` and ``outliers`` are applied in each.
        skip: layers whose outputs stay, by pattern over their names, with all that are coupled to them.

    Sources: Li et al. 2017, arXiv:1608.08710; Hu et al. 2016, arXiv:1607.03250; Theis et al. 2018, arXiv:1801.05787.
    """

    name: ClassVar[str] = "prune-channels"

    criterion: Literal["magnitude", "activation", "fisher"] = "magnitude"
    share: float = 0.0
    macs: float = 0.0
    active: float | None = None
    outliers: float = 0.0
    distortion: float = 0.0
    multiple: int = 0
    minimum: int = 1
    samples: int = 512
    steps: int = 1
    skip: tuple[str, ...] = ()

    def check_options(self) -> None:
        self.require(0 <= self.share < 1, "share", self.share, "0 or more, below 1")
        self.require(0 <= self.macs < 1, "macs", self.macs, "0 or more, below 1")
        self.require(self.active is None or 0 <= self.active < 1, "active", self.active, "0 or more, below 1")
        self.require(0 <= self.outliers <= 10, "outliers", self.outliers, "0 to 10")
        given = [key for key in ("share", "macs", "outliers") if getattr(self, key)]
        given += [] if self.active is None else ["active"]
        self.require(len(given) == 1, "share", " and ".join(given), "one of share, macs, active and outliers")
        by_activity = self.active is None and not self.outliers
        self.require(by_activity or self.criterion == "activation", given[0], self.criterion, "criterion = activation")
        self.require(0 <= self.distortion <= 10, "distortion", self.distortion, "0 to 10")
        self.require(0 <= self.multiple <= 1024, "multiple", self.multiple, "0 to 1024")
        self.require(1 <= self.minimum <= 1 << 16, "minimum", self.minimum, "1 to 65536")
        self.require(1 <= self.samples <= 1 << 20, "samples", self.samples, "1 to 1048576")
        self.require(1 <= self.steps <= 100, "steps", self.steps, "1 to 100")

    @property
    def rounds(self) -> int:
        return self.steps

    def check(self, recipe: Recipe) -> None:
        self.check_first(recipe, "the channels that it has bound cannot be taken out any more")

    def apply(self, model: nn.Module, context: Context) -> None:
        from edgeq.compress.channel_cut import take_out
        from edgeq.compress.channel_scores import distort
        from edgeq.compress.channel_walk import find_channels

        shape = context.data.input_shape
        images, labels = context.images(self.samples)
        batch = max(1, min(len(images), 64, VALUES_AT_ONCE // images[0].numel()))
        count = len(images) // batch * batch
        graph = find_channels(model, shape, batch)
        groups = self._groups(graph)
        if self.distortion:
            distort(model, graph, groups, self.distortion, context.recipe.seed + context.round)
        scores = self._scores(model, graph, images[:count], labels[:count])
        kept = self._kept(graph, groups, scores, context)
        take_out(model, graph, kept, images[:batch])

    def facts(self, model: nn.Module) -> dict[str, float]:
        """``channels``: what all convolutions and linear layers put out."""
        from edgeq.snap import quantized_layers

        return {"channels": sum(layer.weight.shape[0] for layer in quantized_layers(model).values())}  # type: ignore[index, misc]

    def _groups(self, graph: ChannelGraph) -> list[NDArray[np.int64]]:
        """Those that no pattern of ``skip`` holds back."""
        import numpy as np

        held: set[int] = set()
        for pattern in self.skip:
            paths = fnmatch.filter(graph.layers, pattern)
            if not paths:
                known = ", ".join(list(graph.layers)[:8])
                raise ModelError("no layer has this name", where=f"compress {self.name}: skip", got=pattern,
                                 remedy=f"layers are {known}")  # fmt: skip
            held.update(np.concatenate([graph.layers[path].outputs for path in paths]).tolist())
        groups = [group for group in graph.groups if held.isdisjoint(group.tolist())]
        if not groups:
            raise ModelError("no layer's channels can be taken out", where=f"compress {self.name}",
                             remedy="the last layer stays, and so does what its code parts by number")  # fmt: skip
        return groups

    def _scores(self, model: nn.Module, graph: ChannelGraph, images: Tensor, labels: Tensor) -> NDArray[np.float64]:
        import numpy as np

        from edgeq.compress.channel_scores import activity, fisher, magnitude

        if self.criterion == "magnitude":
            return magnitude(model, graph)
        if self.criterion == "fisher":
            return fisher(graph, images, labels)
        found = activity(graph, images)
        if not (found < 1).any():
            raise ModelError("no activation of the network is ever zero", where=f"compress {self.name}: criterion",
                             got=self.criterion, remedy="take magnitude or fisher")  # fmt: skip
        return np.asarray(found)

    def _kept(
        self, graph: ChannelGraph, groups: list[NDArray[np.int64]], scores: NDArray[np.float64], context: Context
    ) -> NDArray[np.bool_]:
        import numpy as np

        from edgeq.compress.channel_choice import Choice
        from edgeq.compress.channel_cut import macs_kept

        everything = np.ones(graph.classes, dtype=bool)
        names = _names(graph, groups)
        first = context.memory.setdefault("channels", dict(zip(names, map(len, groups), strict=True)))
        full = [first[name] for name in names]
        macs = context.memory.setdefault("macs", macs_kept(graph, everything))
        multiple = self.multiple or kernels_of(context.recipe).channels
        choice = Choice(graph, groups, full, scores, multiple, self.minimum)
        done = (context.round + 1) / self.steps
        if self.share:
            return choice.by_share((1 - self.share) ** done)
        if self.macs:
            return self._within(choice, self.macs**done * macs, context)
        unwanted = np.zeros(graph.classes, dtype=bool)
        for group in groups:
            least = self.active
            if least is None:
                known = scores[group][np.isfinite(scores[group])]
                least = float(known.mean() - self.outliers * known.std()) if len(known) else -1.0
            unwanted[group] = scores[group] <= least
        return choice.without(unwanted)

    def _within(self, choice: Choice, budget: float, context: Context) -> NDArray[np.bool_]:
        from edgeq.compress.channel_cut import macs_kept

        while (kept := choice.by_macs(budget)) is None:
            if choice.multiple == 1 or self.multiple:
                raise ModelError("the multiply-adds cannot fall so far", where=f"compress {self.name}: macs",
                                 got=macs_kept(choice.graph, choice.by_share(0.0)), wanted=f"{budget:.0f} or fewer",
                                 remedy="lower multiple or minimum, or skip fewer layers")  # fmt: skip
            choice = dataclasses.replace(choice, multiple=choice.multiple // 2)
            context.progress.note(f"{self.name}: channels are multiples of {choice.multiple}, to fit into the budget")
        return kept


def _names(graph: ChannelGraph, groups: list[NDArray[np.int64]]) -> list[str]:
    """Each group by the first layer that makes some of it."""
    import numpy as np

    paths = list(graph.layers)
    first = np.zeros(graph.classes, dtype=np.int64)
    for number, path in reversed(list(enumerate(paths))):
        first[graph.layers[path].outputs] = number
    return [paths[int(first[group].min())] for group in groups]
