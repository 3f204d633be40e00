"""EfficientNet-Lite0: Tan and Le 2019, arXiv:1905.11946, table 1, without squeeze-and-excite and with ReLU6, as its
authors released it for int8 hardware in 2020."""

from __future__ import annotations

from edgeq.models.mobilenet_v2 import InvertedResidualNet

__all__ = ["EfficientNetLite0"]

# Of each stage: expansion, kernel, output channels, blocks, stride of the first.
STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


class EfficientNetLite0(InvertedResidualNet):
    """Inverted residuals of 3x3 and 5x5 kernels.

    Args:
        num_classes: length of the output.
        input_shape: (C, H, W), 224x224 as released; any size.
        stages: (expansion, kernel, output channels, blocks, stride of the first) each.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        stages: tuple[tuple[int, int, int, int, int], ...] = STAGES,
    ) -> None:
        super().__init__(num_classes, input_shape[0], stages)
