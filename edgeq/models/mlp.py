"""A multilayer perceptron: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["MLP"]

_HIDDEN = (256, 128)


class MLP(nn.Module):
    """Flattened pixels, two hidden layers of 256 and 128 units with ReLU, logits.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W).

    Takes float [N, C, H, W], gives logits [N, num_classes]. Nothing is dropped unless ``train.dropout`` says so.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(math.prod(input_shape), _HIDDEN[0])
        self.fc2 = nn.Linear(_HIDDEN[0], _HIDDEN[1])
        self.fc3 = nn.Linear(_HIDDEN[1], num_classes)
        self.dropout = nn.Dropout(0.0)
        for layer in (self.fc1, self.fc2, self.fc3):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(torch.relu(self.fc1(x.flatten(1))))
        x = self.dropout(torch.relu(self.fc2(x)))
        logits: torch.Tensor = self.fc3(x)
        return logits
