"""The mean of each channel of float activations over samples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.calibrate.histogram import give_outputs
from edgeq.onnx_session import open_session

__all__ = ["Samples", "channel_means", "channels_first", "one_by_one"]

Samples = Mapping[str, NDArray[np.float32]]


def channel_means(model: ir.Model, samples: Samples, axes: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """The mean of each channel.

    Args:
        model: float ONNX of batch 1, not changed.
        samples: one float32 array an input, samples first.
        axes: by value name, the axis of its channels.

    Returns:
        float64 [C] by value name.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    session = open_session(model, change=partial(give_outputs, list(axes)))
    feeds = one_by_one(samples)
    for feed in feeds:
        for (name, axis), values in zip(axes.items(), session.run(list(axes), feed), strict=True):
            mean = channels_first(values, axis).mean(axis=1, dtype=np.float64)
            sums[name] = sums[name] + mean if name in sums else mean
    return {name: total / len(feeds) for name, total in sums.items()}


def one_by_one(samples: Samples) -> list[dict[str, NDArray[np.float32]]]:
    """What each sample feeds to a network of batch 1; views."""
    count = len(next(iter(samples.values())))
    return [{name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()} for i in range(count)]


def channels_first(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """[C, all else]."""
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)
