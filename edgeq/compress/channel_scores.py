"""What a channel is worth: criteria over weights, activations and gradients. The least are taken out first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgeq.compress.channel_graph import ChannelGraph
from edgeq.compress.channel_reads import Reader, channel_dim

__all__ = ["activity", "distort", "fisher", "magnitude"]

Scores = NDArray[np.float64]


def magnitude(model: nn.Module, graph: ChannelGraph) -> Scores:
    """The sum of a filter's absolute weights, against its layer's mean; over the layers that make the channel.

    Returns:
        Float64, by class.

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, section 3.1.
    """
    total = np.zeros(graph.classes)
    for layer in graph.layers.values():
        if not layer.by_itself:
            module: Any = model.get_submodule(layer.path)
            weight = module.weight.detach().double().abs()
            weight = weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight
            norms = weight.flatten(1).sum(1)
            np.add.at(total, layer.outputs, (norms / norms.mean().clamp_min(1e-30)).numpy())
    return total


def activity(graph: ChannelGraph, images: Tensor) -> Scores:
    """The share of a channel's activations that are not zero: 1 - APoZ, the average percentage of zeros.

    Args:
        graph: of the network.
        images: float32 [S, C, H, W], S a multiple of the graph's batch.

    Returns:
        Float64, by class, over all activation functions that the channel goes through; NaN where there is none.

    Source: Hu et al. 2016, "Network Trimming", arXiv:1607.03250, eq. (1).
    """
    on, seen = np.zeros(graph.classes), np.zeros(graph.classes)
    counter = _Counter(graph, on, seen)
    with torch.no_grad():
        for batch in torch.split(images, graph.batch):
            counter.run(batch)
    with np.errstate(invalid="ignore"):
        return np.where(seen > 0, on / seen, np.nan)


def fisher(graph: ChannelGraph, images: Tensor, labels: Tensor) -> Scores:
    """By how much the loss is expected to rise without the channel: half the mean of (sum of a dL/da)^2 over images,
    with a what the next layers read.

    Args:
        graph: of the network.
        images: float32 [S, C, H, W], S a multiple of the graph's batch.
        labels: int64 [S].

    Returns:
        Float64, by class.

    Source: Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning", arXiv:1801.05787,
    eq. (5) and (6).
    """
    total = np.zeros(graph.classes)
    reader = Reader(graph)
    for batch, classes in zip(torch.split(images, graph.batch), torch.split(labels, graph.batch), strict=True):
        reader.reads.clear()
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(reader.run(batch.clone().requires_grad_()), classes, reduction="sum")
            gradients = torch.autograd.grad(loss, [read for _, read in reader.reads])
        rises = np.zeros((len(batch), graph.classes))
        for (path, read), gradient in zip(reader.reads, gradients, strict=True):
            effect = (read.detach() * gradient).double()
            others = [dim for dim in range(1, effect.dim()) if dim != channel_dim(effect)]
            np.add.at(rises.T, graph.layers[path].inputs, (effect.sum(others) if others else effect).numpy().T)
        total += (rises**2).sum(0)
    return total / (2 * len(images))


@torch.no_grad()
def distort(
    model: nn.Module, graph: ChannelGraph, groups: Iterable[NDArray[np.int64]], strength: float, seed: int
) -> None:
    """Add noise to the weights of the layers that make these channels: units that share a feature part.

    ``w + strength * u * (1 - var(w))`` with u from -1 to 1, as the thesis has it; a strength of 1 is the thesis'.

    Args:
        model: changed in place.
        graph: of the network.
        groups: classes of channels.
        strength: 0 for none.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = np.zeros(graph.classes, dtype=bool)
    for group in groups:
        chosen[group] = True
    for layer in graph.layers.values():
        if not layer.by_itself and chosen[layer.outputs].any():
            weight: Any = model.get_submodule(layer.path).weight
            noise = torch.rand(weight.shape, generator=generator) * 2 - 1
            weight.add_(noise * (strength * (1 - weight.var(correction=0)).clamp_min(0)))


class _Counter(fx.Interpreter):
    """Runs the network and counts what is not zero after each activation function."""

    def __init__(self, graph: ChannelGraph, on: Scores, seen: Scores) -> None:
        super().__init__(graph.module)
        self.values, self.on, self.seen = graph.values, on, seen

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        classes = self.values.get(n.name)
        if classes is not None and isinstance(value, Tensor):
            active = (value != 0).double()
            for dim, size in enumerate(classes.shape):
                if size == 1:
                    active = active.mean(dim, keepdim=True)
            flat = classes.flatten().numpy()
            np.add.at(self.on, flat, active.flatten().numpy())
            np.add.at(self.seen, flat, 1)
        return value
