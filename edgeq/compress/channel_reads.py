"""Running an exported network with a hand on what each of its layers reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from edgeq.compress.channel_graph import ChannelGraph

__all__ = ["Reader", "channel_dim", "outputs_without"]


class Reader(fx.Interpreter):
    """Keeps what each layer that reads channels reads, each reading by itself, so that a gradient is by it alone.

    Args:
        graph: of the network.
        kept: bool, by class: the others are read as zero; None for all.
    """

    def __init__(self, graph: ChannelGraph, kept: NDArray[np.bool_] | None = None) -> None:
        super().__init__(graph.module)
        self.layers = {layer.node: layer for layer in graph.layers.values() if not layer.by_itself}
        self.kept = kept
        self.reads: list[tuple[str, Tensor]] = []

    def run_node(self, n: fx.Node) -> Any:
        layer = self.layers.get(n.name)
        if layer is None:
            return super().run_node(n)
        arguments, keywords = self.fetch_args_kwargs_from_env(n)
        read = arguments[0].view_as(arguments[0])
        if self.kept is not None:
            shape = [1] * read.dim()
            shape[channel_dim(read)] = -1
            read = read * torch.from_numpy(self.kept[layer.inputs]).view(shape)
        self.reads.append((layer.path, read))
        return n.target(read, *arguments[1:], **keywords)  # type: ignore[operator]


def channel_dim(values: Tensor) -> int:
    """Where the channels are in what a layer reads: before the pixels of an image, else last."""
    return 1 if values.dim() == 4 else values.dim() - 1


@torch.no_grad()
def outputs_without(graph: ChannelGraph, kept: NDArray[np.bool_], images: Tensor) -> Tensor:
    """What the network gives when nobody reads the other channels.

    Args:
        graph: of the network.
        kept: bool, by class.
        images: as many as the graph's batch.
    """
    found = Reader(graph, kept).run(images)
    assert isinstance(found, Tensor)
    return found
