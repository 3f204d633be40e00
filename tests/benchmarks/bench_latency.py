"""Single-thread LiteRT latency of several .tflite files, measured in turns in one run; the ratios are to the first.

    python tests/benchmarks/bench_latency.py out/demo/model.tflite peer.tflite

Look at ratios and medians, absolute times are noisy.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgeq.reproduce.latency import host_latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--invokes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = host_latencies(
        [path.read_bytes() for path in arguments.files], rounds=arguments.rounds, invokes=arguments.invokes
    )
    rows = [
        {"file": str(path), "median_ms": latency.median_ms, "ratio": latency.ratio}
        for path, latency in zip(arguments.files, found, strict=True)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['median_ms']:.4f} ms  x{row['ratio']:.3f}  {row['file']}")


if __name__ == "__main__":
    main()
