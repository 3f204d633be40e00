"""Batch-norm statistics taken anew: after the snap the layers before a batch norm give other means and variances."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeq.progress import Progress, Silent

__all__ = ["reestimate_batch_norm"]

BATCH = 256


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, images: NDArray[np.float32], *, progress: Progress | None = None) -> None:
    """Set the running statistics of every batch norm to the mean over a set of images.

    Each batch norm sees what those before it, normalized by their batch, give: as in training. A channel that was the
    same in all images gets variance 1: what comes out is its beta either way, but divided by ``sqrt(eps)`` its step
    would be so large that the int32 bias beside it could not say beta. Nothing else of the network changes; it ends in
    evaluation mode.

    Args:
        model: on the CPU, float32.
        images: float32 [N, C, H, W], N at least 2, as the network takes them.
        progress: shown a batch at a time.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers:
        return
    momenta = [module.momentum for module in layers]
    model.eval()
    for module in layers:
        module.reset_running_stats()
        module.momentum = None  # the plain mean over all batches
        module.train()
    batches = np.array_split(images, max(1, len(images) // BATCH))  # of nearly equal size, so that each counts alike
    try:
        with (progress or Silent()).task("batch-norm statistics", len(images)) as task:
            for batch in batches:
                model(torch.from_numpy(np.ascontiguousarray(batch)))
                task.advance(len(batch))
        for module in layers:
            _settle(module)
    finally:
        for module, momentum in zip(layers, momenta, strict=True):
            module.momentum = momentum
        model.eval()


def _settle(module: _BatchNorm) -> None:
    variance = module.running_var
    assert variance is not None
    variance[variance == 0] = 1.0
