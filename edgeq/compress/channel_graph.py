"""The channels of a network as a walk over its graph found them: layers, classes that go together, groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx

__all__ = ["ChannelGraph", "ChannelLayer", "components", "groups_of"]

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChannelLayer:
    """A layer and the classes of its channels; 0 is for what stays.

    Attributes:
        path: in the network.
        node: of the exported graph.
        inputs: int64, of each channel or feature that it reads; empty where each channel is worked on by itself
            (batch norm, depthwise convolution).
        outputs: int64, of each channel or feature that it makes.
        macs: multiply-adds of one image.
    """

    path: str
    node: str
    inputs: Classes
    outputs: Classes
    macs: int

    @property
    def by_itself(self) -> bool:
        """Each channel by itself: its outputs are its inputs."""
        return not len(self.inputs)


@dataclass(frozen=True, slots=True)
class ChannelGraph:
    """The channels of a network in classes: those of a class are taken out together or not at all.

    Attributes:
        module: the exported network; it shares the network's weights.
        batch: the images that it takes at once.
        layers: by path, in the order of the graph.
        values: by name of a node that is an activation: its classes, int64 of its shape, or 1 along dimensions over
            which they do not change.
        groups: int64 classes that are ranked against each other: those of layers that share some.
    """

    module: fx.GraphModule
    batch: int
    layers: dict[str, ChannelLayer]
    values: dict[str, Tensor]
    groups: tuple[Classes, ...]

    @property
    def classes(self) -> int:
        """How many there are, with class 0."""
        return 1 + max((int(layer.outputs.max(initial=0)) for layer in self.layers.values()), default=0)


def groups_of(layers: dict[str, ChannelLayer], count: int) -> Iterator[Classes]:
    """Classes of layers that have some in common, class 0 left out."""
    first, second = [], []
    for layer in layers.values():
        if not layer.by_itself:
            own = np.unique(layer.outputs[layer.outputs > 0])
            first.append(own[:-1])
            second.append(own[1:])
    none = np.zeros(0, dtype=np.int64)
    parts = components(count, np.concatenate([none, *first]), np.concatenate([none, *second]))
    order = np.argsort(parts[1:], kind="stable") + 1
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(parts[order])) + 1)


def components(count: int, first: Classes, second: Classes) -> Classes:
    """The connected parts of a graph, each by its least node.

    Args:
        count: of nodes.
        first, second: int64 [E], the ends of its edges.

    Returns:
        Int64 [count].
    """
    root = np.arange(count, dtype=np.int64)
    while True:
        low, high = np.minimum(root[first], root[second]), np.maximum(root[first], root[second])
        if (low == high).all():
            return root
        np.minimum.at(root, high, low)
        while (root != root[root]).any():
            root = root[root]
