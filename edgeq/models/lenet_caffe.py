"""The two LeNets of Deep Compression, as Caffe has them: 266,610 and 431,080 parameters for gray 28x28 images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from edgeq.errors import ModelError

__all__ = ["LeNet5Caffe", "LeNet300100"]

_LEAST_SIDE = 16  # 16 - 4, / 2, - 4, / 2 leaves one pixel


class LeNet300100(nn.Module):
    """Flattened pixels of one channel, two hidden layers of 300 and 100 units with ReLU, logits.

    Of images in colour it takes the green channel; of gray ones stored as three equal channels, any is the image.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W); (3, 28, 28) in the papers.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Source: LeCun et al. 1998, section III.C.1; Han et al. 2016, arXiv:1510.00149, table 2.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _, height, width = input_shape
        self.fc1 = nn.Linear(height * width, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.fc1(_gray(x).flatten(1)))
        x = torch.relu(self.fc2(x))
        logits: torch.Tensor = self.fc3(x)
        return logits


class LeNet5Caffe(nn.Module):
    """Convolutions 20@5x5 and 50@5x5 without padding, each with a 2x2 max pool; 500 units with ReLU; logits.

    Of images in colour it takes the green channel, as :class:`LeNet300100`.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), each side 16 or more; (3, 28, 28) in the papers.

    Takes float [N, C, H, W], gives logits [N, num_classes].

    Raises:
        ModelError: a side is shorter than 16.

    Source: Caffe's examples/mnist/lenet.prototxt; Han et al. 2016, arXiv:1510.00149, table 3.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _, height, width = input_shape
        if min(height, width) < _LEAST_SIDE:
            raise ModelError(
                "images are too small", where="lenet5_caffe", got=f"{width}x{height}",
                wanted=f"{_LEAST_SIDE}x{_LEAST_SIDE} or more", remedy="pass --image-size 28",
            )  # fmt: skip
        left = [((side - 4) // 2 - 4) // 2 for side in (height, width)]
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * left[0] * left[1], 500)
        self.fc2 = nn.Linear(500, num_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = max_pool2d(self.conv1(_gray(x)), 2)
        x = max_pool2d(self.conv2(x), 2)
        logits: torch.Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


def _gray(x: torch.Tensor) -> torch.Tensor:
    """The one channel, or the second of several."""
    return x if x.shape[1] == 1 else x[:, 1:2]


def _initialize(model: nn.Module) -> None:
    for layer in model.children():
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
