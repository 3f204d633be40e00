"""Single-thread LiteRT latency of several .tflite files, measured in turns in one run; the ratios are to the first.

    python tests/benchmarks/bench_latency.py out/demo/model.tflite peer.tflite

Turns make a drift of the machine hit all files alike; look at ratios and medians, absolute times are noisy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.verify.litert import load

WARM_UP = 10


def prepare(path: Path) -> Any:
    """An interpreter with random inputs in place."""
    interpreter = load(path.read_bytes())
    generator = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        if np.issubdtype(detail["dtype"], np.integer):
            limits = np.iinfo(detail["dtype"])
            values = generator.integers(limits.min, limits.max + 1, detail["shape"])
        else:
            values = generator.standard_normal(detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    return interpreter


def turn_ms(interpreter: Any, invokes: int) -> float:
    """The median of a turn's inferences, in milliseconds."""
    for _ in range(WARM_UP):
        interpreter.invoke()
    times = []
    for _ in range(invokes):
        start = time.perf_counter_ns()
        interpreter.invoke()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--invokes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    interpreters = [prepare(path) for path in arguments.files]
    turns: list[list[float]] = [[] for _ in interpreters]
    for round_ in range(arguments.rounds):
        for i in range(len(interpreters)):
            which = (i + round_) % len(interpreters)
            turns[which].append(turn_ms(interpreters[which], arguments.invokes))
    rows = []
    for path, times in zip(arguments.files, turns, strict=True):
        ratios = [mine / first for mine, first in zip(times, turns[0], strict=True)]
        rows.append({"file": str(path), "median_ms": statistics.median(times), "ratio": statistics.median(ratios)})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['median_ms']:.4f} ms  x{row['ratio']:.3f}  {row['file']}")


if __name__ == "__main__":
    main()
