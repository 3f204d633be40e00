"""Vision transformer: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv:2010.11929; the tiny size is of
Touvron et al. 2020 (DeiT), arXiv:2012.12877, table 1."""

from __future__ import annotations

import torch
from torch import nn

from edgeq.models.layers import initialise
from edgeq.models.mixer import FeedForward, count_patches

__all__ = ["ViT"]


class _Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        y: torch.Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, length, width))
        return y


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn, self.mlp = _Attention(width, heads), FeedForward(width, 4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        y: torch.Tensor = x + self.mlp(self.norm2(x))
        return y


class ViT(nn.Module):
    """Patches and a class token, positions added, transformer blocks, a classifier on the token. Weights have timm's
    names.

    Args:
        width, depth, heads, patch: 192, 12, 3 and 16 are DeiT's tiny one.
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 in the paper; multiples of the patch.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side is no multiple of the patch.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        patch: int,
        num_classes: int,
        input_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        patches = count_patches(input_shape, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, patches + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(input_shape[0], width, patch, patch)})
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, num_classes)
        initialise(self)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        logits: torch.Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits
