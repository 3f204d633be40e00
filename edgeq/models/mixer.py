"""MLP-Mixer: Tolstikhin et al. 2021, "An all-MLP Architecture for Vision", arXiv:2105.01601, table 1."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu

from edgeq.errors import ModelError
from edgeq.models.layers import initialise

__all__ = ["FeedForward", "Mixer", "count_patches"]


def count_patches(input_shape: tuple[int, int, int], patch: int) -> int:
    """How many patches an image is cut into.

    Raises:
        ModelError: a side is no multiple of the patch.
    """
    _, height, width = input_shape
    if height % patch or width % patch or not height * width:
        wanted = f"sides that are multiples of {patch}"
        raise ModelError("the image cannot be cut into patches", got=f"{width}x{height}", wanted=wanted)
    return (height // patch) * (width // patch)


class FeedForward(nn.Module):
    """Two fully-connected layers along the last axis with GELU between them."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(gelu(self.fc1(x)))
        return y


class _Block(nn.Module):
    """Mix the patches of each channel, then the channels of each patch."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.mlp_tokens, self.mlp_channels = FeedForward(patches, width // 2), FeedForward(width, 4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        y: torch.Tensor = x + self.mlp_channels(self.norm2(x))
        return y


class Mixer(nn.Module):
    """Patches as vectors, blocks of token and channel mixing, the mean of the patches, a classifier. Weights
    have timm's names.

    Args:
        width, depth, patch: 512, 8 and 16 are the paper's S/16.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; multiples of the patch.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side is no multiple of the patch.
    """

    def __init__(self, width: int, depth: int, patch: int, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        patches = count_patches(input_shape, patch)
        self.stem = nn.ModuleDict({"proj": nn.Conv2d(input_shape[0], width, patch, patch)})
        self.blocks = nn.Sequential(*(_Block(patches, width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem["proj"](x).flatten(2).transpose(1, 2)
        logits: torch.Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return logits
