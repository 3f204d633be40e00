"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerParity", "Verification"]


@dataclass(frozen=True, slots=True)
class LayerParity:
    """One TFLite operation, computed from the same input codes in every runtime.

    Attributes:
        name: the tensor it writes.
        operation: the TFLite operation.
        onnx_difference: largest difference in codes between onnxruntime (float arithmetic) and LiteRT's reference
            kernel (of a bilinear resize, LiteRT as it runs by default); None where the operation has no counterpart in
            the ONNX graph (padding, the softmax head).
        xnnpack_difference: the same between LiteRT as it runs by default and its reference kernel.
        delegated: whether XNNPACK takes the operation.
        reason: why not, if not.
        error: of floats, the largest difference of either kernel from onnxruntime (or, where that has no counterpart,
            from each other), over the largest magnitude; None of codes.
        bound: what the differences may be: one code; of floats what :func:`edgeq.verify.floats.float_bound` allows.
    """

    name: str
    operation: str
    onnx_difference: int | None
    xnnpack_difference: int
    delegated: bool
    reason: str = ""
    error: float | None = None
    bound: float = 1


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome for one artifact.

    Attributes:
        accuracy: percent of the test images, by runtime: ``float``, ``snapped``, ``onnx``, ``tflite`` (XNNPACK) on
            all of them and ``reference`` on ``reference_samples``.
        samples: test images.
        reference_samples: those that the reference kernels, which are slow, were run on.
        top1_agreement: percent of the test images on which onnxruntime and LiteRT name the same class.
        reference_agreement: percent of the reference samples on which both of LiteRT's kernels name the same class.
        layers: operation by operation, in order.
        layer_samples: images that the layers were compared on.
        codes: weight integers of the checkpoint; all are in both files.
        predictions: the class of each test image through the TFLite file, int64 [N].
        confidences: the softmax score of each of these answers, float32 [N], 0 to 1.
        float_predictions, float_confidences: the same through the float network.
        golden_inputs, golden_outputs: what the file takes and the exact bytes it gives, for a self-test on the device.
    """

    accuracy: dict[str, float]
    samples: int
    reference_samples: int
    top1_agreement: float
    reference_agreement: float
    layers: tuple[LayerParity, ...]
    layer_samples: int
    codes: int
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    float_predictions: NDArray[np.int64]
    float_confidences: NDArray[np.float32]
    golden_inputs: NDArray[np.generic]
    golden_outputs: NDArray[np.generic]

    @property
    def max_float_error(self) -> float | None:
        """The largest difference of any layer's floats, over the largest float; None where all are codes."""
        return max((layer.error for layer in self.layers if layer.error is not None), default=None)

    @property
    def max_code_difference(self) -> int:
        """The largest difference of any layer between any two runtimes, in codes."""
        return max((max(layer.onnx_difference or 0, layer.xnnpack_difference) for layer in self.layers), default=0)
