"""LeNet-5: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section II.B."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from edgeq.errors import ModelError

__all__ = ["LeNet5"]

_LEAST_SIDE = 16  # 16 - 4, / 2, - 4, / 2 leaves one pixel


class LeNet5(nn.Module):
    """Convolutions without padding, tanh and average pooling: C1 6@5x5, S2, C3 16@5x5, S4, C5 120@5x5, F6 84, output.

    As in the paper but for what later work dropped: S2 and S4 have no weights, C3 sees all maps of S2, the output is
    linear. C5's kernel is as large as what S4 leaves, 5x5 at most: for 32x32, the paper's size, C5 is 120@1x1.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), each side 16 or more.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side is shorter than 16.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = input_shape
        if min(height, width) < _LEAST_SIDE:
            got, wanted = f"{width}x{height}", f"{_LEAST_SIDE}x{_LEAST_SIDE} or more"
            raise ModelError(
                "images are too small", where="lenet5", got=got, wanted=wanted, remedy="pass --image-size 32"
            )
        left = [((side - 4) // 2 - 4) // 2 for side in (height, width)]
        kernel = (min(5, left[0]), min(5, left[1]))
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 120, kernel)
        self.fc1 = nn.Linear(120 * (left[0] - kernel[0] + 1) * (left[1] - kernel[1] + 1), 84)
        self.fc2 = nn.Linear(84, num_classes)
        for layer in (self.conv1, self.conv2, self.conv3, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)  # for tanh: Glorot and Bengio 2010
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.conv3(x)).flatten(1)
        logits: torch.Tensor = self.fc2(torch.tanh(self.fc1(x)))
        return logits
