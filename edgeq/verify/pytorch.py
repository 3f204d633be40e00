"""Run images through a PyTorch network in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeq.progress import Progress, Silent

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["run_pytorch"]

BATCH = 256


def run_pytorch(
    model: nn.Module, images: torch.Tensor, *, progress: Progress | None = None, label: str = ""
) -> NDArray[np.float32]:
    """Logits of a network in evaluation mode.

    Args:
        model: on the CPU, float32.
        images: uint8 [N, C, H, W].
        progress, label: shown a batch at a time, if there is a label.

    Returns:
        float32 [N, classes].
    """
    import torch

    from edgeq.data import normalize

    progress = progress or Silent()
    model.eval()
    rows = []
    with torch.inference_mode(), progress.task(label, len(images)) if label else Silent().task("", 0) as task:
        for batch in torch.split(images, BATCH):
            rows.append(model(normalize(batch)).float().numpy())
            task.advance(len(batch))
    return np.concatenate(rows)
