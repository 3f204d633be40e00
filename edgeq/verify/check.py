"""Verify an artifact: the whole test set through every runtime, the layers in codes, the integers byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeq.errors import VerifyError
from edgeq.grid import QuantizedWeight
from edgeq.progress import Progress, Silent
from edgeq.tasks import mean_squared_error
from edgeq.tflite.convert import Interface
from edgeq.tflite.layout import Layout
from edgeq.tflite.model import Tensor
from edgeq.tflite.read import read_graph
from edgeq.verify.integers import compare_integers
from edgeq.verify.layers import IMPRECISE_REFERENCE, TOLERANCE, compare_layers
from edgeq.verify.litert import run
from edgeq.verify.onnx_runtime import run_onnx
from edgeq.verify.report import LayerParity, Verification

__all__ = ["GOLDEN_SAMPLES", "REFERENCE_SAMPLES", "TOLERANCE", "as_file_input", "verify"]

GOLDEN_SAMPLES = 16
REFERENCE_SAMPLES = 256


def verify(
    content: bytes,
    qdq: ir.Model,
    trained: Mapping[str, QuantizedWeight],
    layouts: Mapping[str, Layout],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    logits: Mapping[str, NDArray[np.float32]],
    *,
    io: Interface = "uint8",
    targets: NDArray[np.float32] | None = None,
    reference_samples: int = REFERENCE_SAMPLES,
    progress: Progress | None = None,
) -> Verification:
    """Verify a .tflite file against its ONNX model, its PyTorch network and its checkpoint.

    Args:
        content: the .tflite file.
        qdq: the QDQ ONNX model.
        trained: the checkpoint's grid by layer name.
        layouts: of :class:`edgeq.tflite.convert.Conversion`.
        images: uint8 [N, C, H, W], the test set.
        labels: int64 [N].
        logits: of PyTorch on the same images, [N, classes]: ``float`` and ``snapped``.
        io: the type of the file's inputs and outputs.
        targets: float32 of the logits' shape: what the network should give, where it names no classes.
        reference_samples: images that LiteRT's reference kernels, which are slow, are run on.
        progress: shown.

    Returns:
        What was found.

    Raises:
        VerifyError: an integer or scale is not the checkpoint's, or a layer differs by more than one code between two
            runtimes; names the first such layer.
    """
    progress = progress or Silent()
    graph = read_graph(content)
    codes = compare_integers(trained, qdq, graph, layouts)
    inputs = as_file_input(images, io)
    golden = _spread(len(images), GOLDEN_SAMPLES)
    layers = compare_layers(content, graph, qdq, layouts, [inputs[golden]])
    check_layers(layers)
    onnx_scores = run_onnx(qdq, images, progress=progress, label="onnxruntime")
    tflite_scores = run(content, [inputs], progress=progress, label="LiteRT, XNNPACK")[0]
    few = _spread(len(images), reference_samples)
    reference_scores = run(content, [inputs[few]], "reference", progress=progress, label="LiteRT, reference kernels")[0]
    output = graph.tensors[graph.outputs[0]]
    shared: dict[str, Any] = {
        "samples": len(images),
        "reference_samples": len(few),
        "layers": tuple(layers),
        "layer_samples": len(golden),
        "codes": codes,
        "golden_inputs": inputs[golden],
        "golden_outputs": run(content, [inputs[golden]], workers=1)[0],
    }
    if targets is not None:
        real = {**logits, "onnx": onnx_scores, "tflite": _as_trained(_real(tflite_scores, output))}
        errors = {name: mean_squared_error(values, targets) for name, values in real.items()}
        errors["reference"] = mean_squared_error(_as_trained(_real(reference_scores, output)), targets[few])
        return Verification(error=errors, **shared)
    classes = {name: scores.argmax(axis=1) for name, scores in logits.items()}
    classes |= {"onnx": onnx_scores.argmax(axis=1), "tflite": tflite_scores.argmax(axis=1)}
    reference = reference_scores.argmax(axis=1)
    accuracy = {name: _percent(predicted == labels) for name, predicted in classes.items()}
    accuracy["reference"] = _percent(reference == labels[few])
    return Verification(
        accuracy=accuracy,
        top1_agreement=_percent(classes["onnx"] == classes["tflite"]),
        snapped_agreement=_percent(classes["snapped"] == classes["tflite"]),
        reference_agreement=_percent(reference == classes["tflite"][few]),
        predictions=classes["tflite"].astype(np.int64),
        confidences=_confidences(_real(tflite_scores, output), softmax=io != "uint8"),
        float_predictions=classes["float"].astype(np.int64),
        float_confidences=_confidences(logits["float"]),
        **shared,
    )


def check_layers(layers: list[LayerParity]) -> None:
    """Refuse a file in which an operation is computed differently by two runtimes.

    Raises:
        VerifyError: by more than one code; names the first such layer.
    """
    for layer in layers:
        if layer.error is not None and not layer.error <= layer.bound:
            raise VerifyError(
                "two runtimes do not agree",
                where=f"layer {layer.name} ({layer.operation})",
                got=f"a difference of {layer.error:.2g} of the largest value",
                wanted=f"at most {layer.bound:.2g}",
                remedy="please report this network",
            )
        pairs = (("onnxruntime", layer.onnx_difference or 0), ("XNNPACK", layer.xnnpack_difference))
        for runtime, difference in pairs[: 1 if layer.operation in IMPRECISE_REFERENCE else 2]:
            if difference > layer.bound:
                raise VerifyError(
                    f"{runtime} and LiteRT's reference kernels do not agree",
                    where=f"layer {layer.name} ({layer.operation})",
                    got=f"{difference} codes apart",
                    wanted=f"at most {layer.bound:g}",
                    remedy="please report this network",
                )


def as_file_input(images: NDArray[np.uint8], io: Interface) -> NDArray[Any]:
    """Images [N, C, H, W] of bytes as a file takes them: [N, H, W, C] as bytes, as int8 codes or as floats."""
    pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if io == "int8":
        return (pixels.astype(np.int16) - 128).astype(np.int8)
    return pixels if io == "uint8" else (pixels.astype(np.float32) - 128) / 128


def _real(values: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    """What a file's output codes stand for."""
    real = values.astype(np.float32)
    if tensor.quantization is not None:
        real = (real - tensor.quantization.zero_point[0]) * tensor.quantization.scale[0]
    return real


def _as_trained(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A file's outputs in PyTorch's layout: images [N, H, W, C] become [N, C, H, W]."""
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values


def _confidences(scores: NDArray[np.float32], *, softmax: bool = True) -> NDArray[np.float32]:
    """The largest score of each row, after a softmax where the scores are logits."""
    if softmax:
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = exponentials / exponentials.sum(axis=1, keepdims=True)
    largest: NDArray[np.float32] = scores.max(axis=1).astype(np.float32)
    return largest


def _percent(hits: NDArray[np.bool_]) -> float:
    return round(100 * float(hits.mean()), 4)


def _spread(count: int, wanted: int) -> NDArray[np.intp]:
    """``wanted`` indices evenly spread over ``count``."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.intp)
