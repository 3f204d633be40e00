"""Bytes of an inference that its device's caches do not keep: the memory term of an estimate. No timing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from edgeq.targets import Target
from edgeq.tflite.model import Graph, Tensor

__all__ = ["memory_bytes", "weights_stay"]


def memory_bytes(graph: Graph, target: Target, *, resident: bool | None = None) -> int:
    """Bytes that come from memory or go there in one of many inferences.

    An operation's weights come from memory, for the other operations' have pushed them out of the caches since. Its
    activations do where all it reads and writes is more than the last cache holds; else they are still there.

    Args:
        graph: the network, or one operation of it.
        target: whose caches; one that names none keeps nothing.
        resident: whether the weights stay in the cache, as :func:`weights_stay` says of the whole network; None asks it
            about ``graph``.
    """
    stay = weights_stay(graph, target) if resident is None else resident
    cache = _last_cache(target)
    total = 0
    for operator in graph.operators:
        used = {index for index in (*operator.inputs, *operator.outputs) if index >= 0}
        weights = _bytes(graph.tensors[index] for index in used if graph.tensors[index].data is not None)
        activations = _bytes(graph.tensors[index] for index in used if graph.tensors[index].data is None)
        total += (0 if stay else weights) + (activations if activations > cache else 0)
    return total


def weights_stay(graph: Graph, target: Target) -> bool:
    """Whether all weights, with the activations of any one operation, are in the last cache at once."""
    weights = _bytes(tensor for tensor in graph.tensors if tensor.data is not None)
    activations = [
        _bytes(
            graph.tensors[index]
            for index in {*operator.inputs, *operator.outputs}
            if index >= 0 and graph.tensors[index].data is None
        )
        for operator in graph.operators
    ]
    return weights + max(activations, default=0) <= _last_cache(target)


def _last_cache(target: Target) -> int:
    return target.l3_bytes or target.l2_bytes or target.l1d_bytes or 0


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in tensors)
