"""What exporting a trained ResNet-20 costs: the whole `edgeq export` process, and writing the TFLite file by itself.

    python tests/benchmarks/bench_export.py [--rounds 5] [--json]

The process starts from a checkpoint on disk and ends with a folder whose .tflite file was loaded and compared layer
by layer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SAMPLES = 64
LIMITS = {"seconds": 7.0, "peak_mb": 650.0, "emission_s": 0.2}


def make_inputs(folder: Path) -> list[str]:
    """A checkpoint and a calibration set; the command that exports them."""
    from edgeq.models import create_model, save_weights

    save_weights(create_model("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0), folder / "net.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, 3, 32, 32))
    np.savez(folder / "set.npz", inputs=((pixels - 128) / 128).astype(np.float32))
    options = ["--model", "resnet20", "--checkpoint", str(folder / "net.safetensors"), "--input-shape", "3,32,32"]
    return ["export", *options, "--calibration-data", str(folder / "set.npz"), "--out", str(folder / "out"), "--quiet"]


def run_once(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident memory (10^6 bytes) of one whole process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "edgeq", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"edgeq {' '.join(command)} failed with status {status}")
    process.returncode = 0
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6


def emission_seconds(folder: Path) -> float:
    """Reading excluded: from a QDQ model in memory to the bytes of the file."""
    from edgeq.onnx_file import load_onnx
    from edgeq.tflite.convert import convert_qdq
    from edgeq.tflite.write import write_graph

    model = load_onnx(folder / "out" / "model.onnx")
    start = time.perf_counter()
    write_graph(convert_qdq(model).graph)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeq-") as name:
        folder = Path(name)
        command = make_inputs(folder)
        runs = [run_once(command) for _ in range(arguments.rounds)]
        figures = {
            "seconds": statistics.median(run[0] for run in runs),
            "peak_mb": statistics.median(run[1] for run in runs),
            "emission_s": statistics.median(emission_seconds(folder) for _ in range(arguments.rounds)),
        }
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for key, value in figures.items():
            print(f"{key:11} {value:8.3f}   limit {LIMITS[key]:g}")
    sys.exit(any(figures[key] > LIMITS[key] for key in LIMITS))


if __name__ == "__main__":
    main()
