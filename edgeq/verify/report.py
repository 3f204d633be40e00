"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["ConversionProof", "LayerParity", "OutputParity", "Verification"]


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
            all of them and ``reference`` on ``reference_samples``; empty where there are no classes.
        error: mean squared error by runtime, where there are no classes; else empty.
        samples: test images.
        reference_samples: those that the reference kernels, which are slow, were run on.
        top1_agreement: percent of the test images on which onnxruntime and LiteRT name the same class; None where
            there are no classes, as the others.
        snapped_agreement: the same of LiteRT and PyTorch with snapped weights, and with activations rounded as the
            training had them where it did.
        reference_agreement: percent of the reference samples on which both of LiteRT's kernels name the same class.
        layers: operation by operation, in order.
        layer_samples: images that the layers were compared on.
        codes: weight integers of the checkpoint; all are in both files.
        predictions: the class of each test image through the TFLite file, int64 [N].
        confidences: the softmax score of each of these answers, float32 [N], 0 to 1.
        float_predictions, float_confidences: the same through the float network.
        golden_inputs, golden_outputs: what the file takes and the exact bytes it gives, for a self-test on the device.
    """

    samples: int
    reference_samples: int
    layers: tuple[LayerParity, ...]
    layer_samples: int
    codes: int
    golden_inputs: NDArray[np.generic]
    golden_outputs: NDArray[np.generic]
    accuracy: dict[str, float] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    top1_agreement: float | None = None
    snapped_agreement: float | None = None
    reference_agreement: float | None = None
    predictions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    confidences: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    float_predictions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    float_confidences: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def lost(self) -> float:
        """Points of accuracy from PyTorch with snapped weights to the file; 0 where there are no classes."""
        return self.accuracy["snapped"] - self.accuracy["tflite"] if self.accuracy else 0.0

    def judged(self) -> dict[str, dict[str, float]]:
        """``accuracy`` or ``error``, as manifests have it."""
        counts = {"samples": self.samples, "reference_samples": self.reference_samples}
        return {"error": {**self.error, **counts}} if self.error else {"accuracy": {**self.accuracy, **counts}}

    @property
    def max_float_error(self) -> float | None:
        """The largest difference of any layer's floats, over the largest float; None where all are codes."""
        return max((layer.error for layer in self.layers if layer.error is not None), default=None)

    @property
    def max_code_difference(self) -> int:
        """The largest difference of any layer between any two runtimes, in codes."""
        return _max_code_difference(self.layers)


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The outputs of a whole file beside those of its ONNX model, over some samples.

    Attributes:
        equal: percent of the values that are the same.
        max_code_difference: of those that are codes; None where no output is.
    """

    equal: float
    max_code_difference: int | None


@dataclass(frozen=True, slots=True)
class ConversionProof:
    """What a conversion was compared in.

    Attributes:
        layers: each operation of the file, fed equal codes in every runtime.
        samples: how many inputs were run.
        outputs: the whole file beside the ONNX model as it was given; None where onnxruntime does not run that.
    """

    layers: tuple[LayerParity, ...]
    samples: int
    outputs: OutputParity | None

    @property
    def max_code_difference(self) -> int:
        """The largest difference of any layer between any two runtimes, in codes."""
        return _max_code_difference(self.layers)


def _max_code_difference(layers: tuple[LayerParity, ...]) -> int:
    return max((max(layer.onnx_difference or 0, layer.xnnpack_difference) for layer in layers), default=0)
