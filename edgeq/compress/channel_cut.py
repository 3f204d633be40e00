"""Taking channels out of a network: every layer that makes, reads or scales them gets smaller, and is noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeq.compress.channel_graph import ChannelGraph, ChannelLayer
from edgeq.compress.channel_reads import outputs_without
from edgeq.errors import ModelError
from edgeq.models.structure import note

__all__ = ["macs_kept", "take_out"]

Kept = NDArray[np.bool_]
TOLERANCE = 1e-3  # of the largest output: sums of fewer terms are rounded otherwise


def macs_kept(graph: ChannelGraph, kept: Kept) -> int:
    """Multiply-adds of one image when only these classes are left.

    Args:
        graph: of the network.
        kept: bool, by class; class 0 is always kept.
    """
    total = 0.0
    for layer in graph.layers.values():
        reads = 1.0 if layer.by_itself else float(kept[layer.inputs].mean())
        total += layer.macs * reads * float(kept[layer.outputs].mean())
    return round(total)


def take_out(model: nn.Module, graph: ChannelGraph, kept: Kept, images: Tensor) -> int:
    """Take the channels of all other classes out, in place, and note the layers that changed.

    The outputs are compared with those of the whole network whose layers read the lost channels as zero.

    Args:
        model: the network that the graph is of.
        graph: of the network.
        kept: bool, by class; at least one channel of each layer.
        images: to compare on, as many as the graph's batch.

    Returns:
        How many channels the layers that make them lost.

    Raises:
        ModelError: the network cannot run without the channels, or gives something else than without reading them;
            it is of no use then.
    """
    wanted = outputs_without(graph, kept, images)
    lost = 0
    for layer in graph.layers.values():
        makes = kept[layer.outputs]
        reads = makes if layer.by_itself else kept[layer.inputs]
        if makes.all() and reads.all():
            continue
        _shrink(model.get_submodule(layer.path), layer, makes, reads)
        note(model, layer.path)
        lost += 0 if layer.by_itself else int((~makes).sum())
    _check(model, images, wanted)
    return lost


@torch.no_grad()
def _check(model: nn.Module, images: Tensor, wanted: Tensor) -> None:
    remedy = "the network's code has numbers of channels in it: skip the layers before that place"
    try:
        got = model(images)
    except Exception as error:  # a foreign forward can raise anything
        told = f"{type(error).__name__}: {error}"
        raise ModelError("the network cannot run without the channels", got=told, remedy=remedy) from error
    if got.shape != wanted.shape or not bool((got - wanted).abs().max() <= TOLERANCE * wanted.abs().max()):
        raise ModelError("the network without the channels gives something else than it should", remedy=remedy)


@torch.no_grad()
def _shrink(module: Any, layer: ChannelLayer, makes: Kept, reads: Kept) -> None:
    out, into = torch.from_numpy(np.flatnonzero(makes)), torch.from_numpy(np.flatnonzero(reads))
    turned = isinstance(module, nn.ConvTranspose2d)  # its weight is [I, O, KH, KW]
    for name in ("weight", "bias"):
        old = getattr(module, name)
        if old is None:
            continue
        new = old.index_select(1 if turned and name == "weight" else 0, out)
        if name == "weight" and not layer.by_itself:
            new = new.index_select(0 if turned else 1, into)
        setattr(module, name, nn.Parameter(new, old.requires_grad))
    for name in ("running_mean", "running_var"):
        if getattr(module, name, None) is not None:
            setattr(module, name, getattr(module, name).index_select(0, out))
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.num_features = len(out)
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = len(into), len(out)
    else:
        module.in_channels, module.out_channels = len(into), len(out)
        module.groups = len(out) if layer.by_itself else 1
