"""Hold the estimates of `edgeq bench` against published times: what the tables were fitted on, and what they were not.

    python tests/benchmarks/calibrate_estimate.py [--out docs/results/estimate-calibration.json]

It builds MobileNet-v1 and v2 with random weights, counts both under QEMU on the lanes of the published rows and
estimates each row at its device's clock and cores. Exit 1 where a row that may be 15 % off at most is more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeq.bench.estimate import estimate
from edgeq.bench.float_twin import float_twin
from edgeq.bench.guest import run_jobs
from edgeq.bench.instructions import count
from edgeq.bench.jobs import Job, pack_samples
from edgeq.bench.lanes import LANES
from edgeq.bench.memory_traffic import memory_bytes
from edgeq.bench.profile import Region
from edgeq.progress import Silent
from edgeq.targets import load_target
from edgeq.tflite.model import Graph
from edgeq.tflite.read import read_file

LIMIT = 0.15
TIMEOUT_S = 900.0
PHONE = "Pixel 3a, XNNPACK's README, March 2020"
BOARD = "Raspberry Pi 2, XNNPACK's README, February 2022"
MODELS = {
    "mobilenet_v1": ["--model", "mobilenet_v1", "--classes", "1001"],
    "mobilenet_v2": ["--model", "mobilenet_v2", "--classes", "1000"],
}


@dataclass(frozen=True)
class Row:
    """A published time: on what, and whether a figure of the target was fitted on it (``fit``), it is a test that must
    hold (``test``), or one that the model is known to miss (``limit``)."""

    model: str
    precision: Literal["float", "int8"]
    lane: str
    target: str
    cores: int
    clock_hz: float
    published_ms: float
    role: Literal["fit", "test", "limit"]
    source: str


ROWS = (
    Row("mobilenet_v1", "float", "litert", "cortex-a75", 1, 2.0e9, 88, "fit", PHONE),
    Row("mobilenet_v1", "float", "xnnpack", "cortex-a7", 4, 0.9e9, 302, "fit", BOARD),
    Row("mobilenet_v1", "int8", "xnnpack", "cortex-a7", 4, 0.9e9, 128, "fit", BOARD),
    Row("mobilenet_v2", "float", "litert", "cortex-a75", 1, 2.0e9, 55, "test", PHONE),
    Row("mobilenet_v2", "float", "xnnpack", "cortex-a7", 4, 0.9e9, 191, "test", BOARD),
    Row("mobilenet_v2", "int8", "xnnpack", "cortex-a7", 4, 0.9e9, 82, "test", BOARD),
    Row("mobilenet_v1", "float", "litert", "cortex-a75", 2, 2.0e9, 46, "limit", PHONE),
    Row("mobilenet_v2", "float", "litert", "cortex-a75", 2, 2.0e9, 28, "limit", PHONE),
)


def build(model: str, folder: Path) -> Graph:
    """The int8 graph of a network with random weights."""
    values = np.random.default_rng(0).integers(0, 256, (4, 3, 224, 224)).astype(np.float32) / 128 - 1
    np.savez(folder / "set.npz", inputs=values)
    out = folder / model
    command = [sys.executable, "-m", "edgeq", "export", *MODELS[model], "--input-shape", "3,224,224", "--io", "int8"]
    command += ["--calibration-data", str(folder / "set.npz"), "--out", str(out), "--quiet"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return read_file(out / "model.tflite")


def profile(graph: Graph, lane_name: str, target_name: str, folder: Path) -> Region:
    """What one inference runs, counted under QEMU."""
    lane, target = LANES[lane_name], load_target(target_name)
    guest = lane.guest(target, Silent())
    tensor = graph.tensors[graph.inputs[0]]
    generator = np.random.default_rng(0)
    values = (
        generator.standard_normal(tensor.shape)
        if tensor.dtype == "float32"
        else generator.integers(-128, 128, tensor.shape)
    )
    job = Job("whole", folder / "model", folder / "in", folder / "out")
    job.model.write_bytes(lane.encode(graph))
    job.samples.write_bytes(pack_samples([values.astype(tensor.dtype)]))
    _, (region,) = run_jobs(guest, target, [job], folder / "jobs", count=True, timeout_s=TIMEOUT_S)
    return region


def compare(row: Row, graph: Graph, region: Region) -> dict[str, Any]:
    """The estimate of a row and how far it is off."""
    target = load_target(row.target)
    moved = memory_bytes(graph, target)
    found = estimate(region.blocks, target, moved, passes=region.passes, cores=row.cores, clock_hz=row.clock_hz)
    counts = count(region.blocks)
    return {
        **asdict(row),
        "estimate_ms": [round(value, 2) for value in (found.low_ms, found.mid_ms, found.high_ms)],
        "ratio": round(found.mid_ms / row.published_ms, 4),
        "compute_ms": round(found.compute_ms, 2),
        "memory_ms": round(found.memory_ms, 2),
        "memory_bytes": moved,
        "instructions": counts.total // region.passes,
        "by_class": {name: value // region.passes for name, value in counts.instructions.items()},
        "undecoded": counts.undecoded,
    }


def calibrate() -> list[dict[str, Any]]:
    """All rows; each network is built once and run once a lane."""
    results = []
    with tempfile.TemporaryDirectory(prefix="edgeq-calibrate-") as name:
        folder = Path(name)
        graphs: dict[tuple[str, str], Graph] = {}
        for model in MODELS:
            whole = build(model, folder)
            graphs |= {(model, "int8"): whole, (model, "float"): float_twin(whole)}
        regions: dict[tuple[str, str, str], Region] = {}
        for row in ROWS:
            graph, key = graphs[row.model, row.precision], (row.model, row.precision, row.lane)
            if key not in regions:
                regions[key] = profile(graph, row.lane, row.target, folder)
            results.append(compare(row, graph, regions[key]))
            print(_line(row, results[-1]), flush=True)
    return results


def _line(row: Row, found: dict[str, Any]) -> str:
    what = f"{row.role:5s} {row.target:10s} {row.cores} x {row.clock_hz / 1e9:g} GHz {row.model} {row.precision:5s}"
    mid = found["estimate_ms"][1]
    return f"{what} published {row.published_ms:5g} ms, estimate {mid:6.1f} ms, ratio {found['ratio']:.3f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/estimate-calibration.json"))
    arguments = parser.parse_args()
    results = calibrate()
    arguments.out.write_text(json.dumps({"limit": LIMIT, "rows": results}, indent=2) + "\n", encoding="utf-8")
    worst = max(abs(row["ratio"] - 1) for row in results if row["role"] != "limit")
    print(f"worst of fit and test: {worst:.1%}; limit {LIMIT:.0%}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
