"""What each calibration choice is worth after training: accuracy and noise of the int8 model, a row a choice.

    python tests/benchmarks/bench_calibration.py NETWORK CHECKPOINT DATA BITS [IMAGES]

256 training images calibrate; the test images are run in onnxruntime.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from edgeq.artifact import make_artifact
from edgeq.calibrate import CalibrationRecipe
from edgeq.data import load_data
from edgeq.export.activations import PIXEL_GRID
from edgeq.export.float_onnx import export_float
from edgeq.grid import Grid
from edgeq.models import create_model, load_weights
from edgeq.modes import Plan
from edgeq.pipeline import calibration_samples
from edgeq.verify.onnx_runtime import run_onnx

CHOICES = {
    "minmax": CalibrationRecipe(),
    "percentile": CalibrationRecipe("percentile"),
    "mse": CalibrationRecipe("mse"),
    "minmax, equalize": CalibrationRecipe(equalize=True),
    "corrected: minmax, correct_bias": CalibrationRecipe(correct_bias=True),
    "mse, correct_bias": CalibrationRecipe("mse", correct_bias=True),
    "equalized: minmax, correct_bias, equalize": CalibrationRecipe(correct_bias=True, equalize=True),
}


def main(network: str, checkpoint: str, data: str, bits: str, images: str = "10000") -> None:
    loaded = load_data(data)
    samples = calibration_samples(loaded, 256, 0)
    order = torch.randperm(len(loaded.test_images), generator=torch.Generator().manual_seed(1))[: int(images)]
    test, labels = loaded.test_images[order].numpy(), loaded.test_labels[order].numpy()
    model = create_model(network, num_classes=len(loaded.classes), input_shape=loaded.input_shape, seed=0)
    load_weights(model, Path(checkpoint))
    exact = run_onnx(export_float(model, [loaded.input_shape]), test)
    print(f"{network}, {bits} bits, {len(labels)} images, float {_percent(exact, labels):.2f} %")
    for name, recipe in CHOICES.items():
        exported = export_float(model, [loaded.input_shape])
        start, entry = time.process_time(), str(exported.graph.inputs[0].name)
        plan = Plan(grid=Grid(int(bits)))
        made = make_artifact(exported, {}, {entry: samples}, recipe, pinned={entry: PIXEL_GRID}, plan=plan)
        seconds = time.process_time() - start
        found = run_onnx(made.qdq, test)
        noise = float(((found - exact) ** 2).sum() / (exact**2).sum())
        row = f"{_percent(found, labels):6.2f} %  {-10 * np.log10(noise):5.1f} dB  {seconds:.1f} s of CPU"
        print(f"  {name:40}{row}", flush=True)


def _percent(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]], labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> float:
    return 100 * float((logits.argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
