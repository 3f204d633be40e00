"""Size, accuracy and host latency of one trained network in each mode and at 8, 4 and 2 bits, as a table in Markdown.

    python tests/benchmarks/bench_modes.py OUT_OF_A_BUILD

takes the folder of an ``edgeq build`` (``make demo`` leaves one in out/demo): its checkpoint and its data.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.data import load_data, normalize
from edgeq.grid import Grid
from edgeq.pipeline import calibration_samples
from edgeq.posttraining import ExportRequest, export_module
from edgeq.recipe import load_recipe
from edgeq.tflite.read import read_file
from edgeq.verify.litert import load, run

ROWS = (
    ("int8", 8, False),
    ("int16", 8, False),
    ("dynamic", 8, False),
    ("float16", 8, False),
    ("float32", 8, False),
    ("int8", 4, False),
    ("int8", 4, True),
    ("int8", 2, False),
    ("int8", 2, True),
)
ROUNDS = 60


def main() -> None:
    build = Path(sys.argv[1])
    recipe = load_recipe(build / "recipe.toml")
    data = load_data(recipe.data.path, image_size=recipe.data.image_size)
    samples = calibration_samples(data, 64, recipe.seed)
    labels = data.test_labels.numpy()
    images = normalize(data.test_images).numpy().transpose(0, 2, 3, 1)
    rows, contents = [], []
    with tempfile.TemporaryDirectory() as folder:
        for mode, bits, packed in ROWS:
            out = Path(folder) / f"{mode}{bits}{packed}"
            request = ExportRequest({"input": samples}, grid=Grid(bits), mode=mode, packed=packed, io="float32")
            trained: Any = {"checkpoint": build / "checkpoint.safetensors", "classes": len(data.classes)}
            manifest = export_module(recipe.model, [data.input_shape], request, out, **trained)
            content = (out / "model.tflite").read_bytes()
            scores = run(content, [np.ascontiguousarray(images)])[0]
            accuracy = 100 * float((scores.argmax(axis=1) == labels).mean())
            contents.append(content)
            share = delegated(manifest)
            sizes = [f"{len(content):,}", f"{(out / 'model.onnx').stat().st_size:,}"]
            name = f"{mode}, {bits} bits{', packed' if packed else ''}" if mode == "int8" else mode
            rows.append([name, *sizes, f"{accuracy:.2f}", share])
            assert read_file(out / "model.tflite").operators
    print("| mode | .tflite | .onnx | accuracy | latency | operations in XNNPACK |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    seconds = latencies(contents, images[:1])
    for (*row, share), time_of in zip(rows, seconds, strict=True):
        print(f"| {' | '.join([*row, f'{time_of / seconds[0]:.2f}', share])} |")


def delegated(manifest: dict[str, Any]) -> str:
    layers = manifest["parity"]["layers"]
    return f"{sum(layer['delegated'] for layer in layers)} of {len(layers)}"


def latencies(contents: list[bytes], image: NDArray[np.float32]) -> list[float]:
    """The best of several rounds in seconds, a round of all after the other: the machine may be busy."""
    interpreters = [load(content) for content in contents]
    best = [float("inf")] * len(contents)
    for interpreter in interpreters:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(image))
    for _ in range(ROUNDS):
        for i, interpreter in enumerate(interpreters):
            began = time.perf_counter()
            interpreter.invoke()
            best[i] = min(best[i], time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
