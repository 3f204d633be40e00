from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgeq.train.batch_norm import reestimate_batch_norm


def test_statistics_are_those_of_the_images_and_a_dead_channel_keeps_a_step_of_its_size() -> None:
    """Mean and variance by numpy; a channel that is the same in all images gives beta, and divides by about 1."""
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(nn.ReLU(), norm)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
    images = np.random.default_rng(0).normal(1, 2, (64, 3, 5, 5)).astype(np.float32)
    images[:, 1] = -abs(images[:, 1])
    reestimate_batch_norm(model, images)
    rows = np.maximum(images, 0).transpose(1, 0, 2, 3).reshape(3, -1)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), rows.mean(1), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy()[[0, 2]], rows.var(1, ddof=1)[[0, 2]], rtol=1e-5)
    assert norm.running_var[1] == 1
    assert torch.all(model(torch.from_numpy(images))[:, 1] == -1)
