"""What exporting a network costs: the whole `edgeq export` process, and writing the TFLite file by itself.

    python tests/benchmarks/bench_export.py [--rounds 5] [--network resnet50] [--json]

The process starts from a checkpoint on disk and ends with a folder whose .tflite file was loaded and compared layer by
layer. Times are the best of the rounds. The limit is on processor time (user and system), which other work on the
machine hardly touches; on an idle machine of two cores or more the wall time is below it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Network:
    """A network, its calibration set and what its export may cost."""

    shape: tuple[int, int, int]
    classes: int
    samples: int
    limits: dict[str, float]


NETWORKS = {
    "resnet20": Network((3, 32, 32), 10, 64, {"cpu_s": 7.0, "peak_mb": 650.0, "emission_s": 0.2}),
    "mobilenet_v2": Network((3, 224, 224), 1000, 8, {"cpu_s": 7.0, "peak_mb": 550.0, "emission_s": 0.3}),
    "resnet50": Network((3, 224, 224), 1000, 8, {"cpu_s": 10.0, "peak_mb": 1000.0, "emission_s": 0.5}),
}


def make_inputs(name: str, folder: Path) -> list[str]:
    """A checkpoint and a calibration set; the command that exports them."""
    from edgeq.models import create_model, save_weights

    network = NETWORKS[name]
    model = create_model(name, num_classes=network.classes, input_shape=network.shape, seed=0)
    save_weights(model, folder / "net.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (network.samples, *network.shape))
    np.savez(folder / "set.npz", inputs=((pixels - 128) / 128).astype(np.float32))
    options = ["--model", name, "--classes", str(network.classes), "--checkpoint", str(folder / "net.safetensors")]
    options += ["--input-shape", ",".join(map(str, network.shape))]
    return ["export", *options, "--calibration-data", str(folder / "set.npz"), "--out", str(folder / "out"), "--quiet"]


def run_once(command: list[str], out: Path) -> dict[str, float]:
    """Seconds of one whole process, and its peak resident memory in 10^6 bytes."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "edgeq", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"edgeq {' '.join(command)} failed with status {status}")
    process.returncode = 0
    # edgeq resets the system's peak at each stage, so that the manifest has the earlier ones.
    stages = json.loads((out / "manifest.json").read_text())["stages"]
    peak = max(usage.ru_maxrss * 1024 / 1e6, *(stage["peak_rss_mb"] for stage in stages))
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": peak}


def emission_seconds(folder: Path) -> float:
    """Processor time from a QDQ model in memory to the bytes of the file."""
    from edgeq.onnx_file import load_onnx
    from edgeq.tflite.convert import convert_qdq
    from edgeq.tflite.write import write_graph

    model = load_onnx(folder / "out" / "model.onnx")
    start = time.process_time()
    write_graph(convert_qdq(model).graph)
    return time.process_time() - start


def measure(name: str, rounds: int) -> dict[str, float]:
    """The best times and the highest memory of several exports."""
    with tempfile.TemporaryDirectory(prefix="edgeq-") as path:
        folder = Path(path)
        command = make_inputs(name, folder)
        runs = [run_once(command, folder / "out") for _ in range(rounds)]
        return {
            "cpu_s": min(run["cpu_s"] for run in runs),
            "wall_s": min(run["wall_s"] for run in runs),
            "peak_mb": max(run["peak_mb"] for run in runs),
            "emission_s": min(emission_seconds(folder) for _ in range(rounds)),
            "tflite_bytes": (folder / "out" / "model.tflite").stat().st_size,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="one of them; all when left out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {name: measure(name, arguments.rounds) for name in arguments.network or NETWORKS}
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, found in figures.items():
            for key, value in found.items():
                limit = NETWORKS[name].limits.get(key)
                print(f"{name:13} {key:13} {value:12,.3f}" + ("" if limit is None else f"   limit {limit:g}"))
    over = [
        key for name, found in figures.items() for key, limit in NETWORKS[name].limits.items() if found[key] > limit
    ]
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
