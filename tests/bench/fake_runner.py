"""A runner that speaks the protocol of edgeq.bench.jobs and computes nothing, for tests."""

from __future__ import annotations

import sys

__all__ = ["RUNNER"]

# Each run is said to take the model's number of microseconds; outputs are the inputs reversed.
RUNNER = f"""#!{sys.executable}
import json, os, sys, time
job = open(sys.argv[-1]).read()
name, model, samples, outputs, warm_up, runs, threads = job.rstrip("\\n").split("\\t")
data = open(samples, "rb").read()
open(outputs, "wb").write(data[::-1])
micros = [int(word) for word in open(model).read().split()]
times = []
for turn in range(int(warm_up) + int(runs)):
    if turn >= int(warm_up):
        times.append(1000 * micros[(turn - int(warm_up)) % len(micros)])
    time.sleep(micros[0] / 1e6)
said = [len(os.sched_getaffinity(0)), os.environ.get("WORD"), sys.argv[1:-1]]
open(os.environ.get("SAID", os.devnull), "w").write(json.dumps(said))
print(json.dumps({{"name": name, "samples": 1, "input_bytes": len(data), "output_bytes": len(data), "ns": times}}))
"""
