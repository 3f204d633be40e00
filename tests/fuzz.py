"""``make fuzz``: many random graphs in three runtimes, a summary, and docs/results/random-graphs.json.

python tests/fuzz.py [--graphs 500] [--seed 0] [--save FILE]     a mismatch is shrunk and shown; exit 1
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import onnxruntime
from graph_check import check, mismatches
from graph_rows import ROWS
from hypothesis import HealthCheck, Phase, given, seed, settings
from random_graphs import Drawn, graphs

from edgeq.manifest import package_versions
from edgeq.verify.layers import IMPRECISE_REFERENCE

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "random-graphs.json"


def explore(count: int, number: int) -> tuple[dict[str, Any], list[str]]:
    """Check so many graphs; what there is to tell of them, and the kinds of failures."""
    placed, operations, refused, failures = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    ends: Counter[int] = Counter()
    worst: dict[str, dict[str, int]] = {}

    def look(drawn: Drawn) -> None:
        placed["edgeq" if drawn.foreign is None else "onnxruntime"] += 1
        try:
            outcome = check(drawn)
        except Exception as error:
            failures[_signature(error)] += 1
            return
        if outcome.refused:
            refused[outcome.refused] += 1
            return
        operations.update(set(drawn.kinds))
        ends.update(outcome.outputs)
        for row in outcome.layers:
            entry = worst.setdefault(row.operation, {"layers": 0, "onnxruntime": 0, "xnnpack": 0})
            entry["layers"] += 1
            entry["onnxruntime"] = max(entry["onnxruntime"], row.onnx_difference or 0)
            if row.operation not in IMPRECISE_REFERENCE:
                entry["xnnpack"] = max(entry["xnnpack"], row.xnnpack_difference)
        failures.update(f"{row.operation} differs" for row in mismatches(outcome))

    _run(look, count, number, shrink=False)
    versions = package_versions()
    summary = {
        "command": f"make fuzz N={count} SEED={number}",
        "versions": {name: versions[name] for name in sorted(versions)},
        "graphs": placed.total(),
        "placed_by": dict(sorted(placed.items())),
        "refused": dict(sorted(refused.items())),
        "onnx_operations": dict(sorted(operations.items())),
        "worst_code_difference": dict(sorted(worst.items())),
        "output_code_differences": {str(key): ends[key] for key in sorted(ends)},
        "failures": dict(failures),
    }
    return summary, list(failures)


def shrink(count: int, number: int) -> None:
    """Run again and let hypothesis find and show the smallest graph of each failure."""

    def agree(drawn: Drawn) -> None:
        found = mismatches(check(drawn))
        assert not found, found

    _run(agree, count, number, shrink=True)


def _run(look: Any, count: int, number: int, *, shrink: bool) -> None:
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    quiet = settings(max_examples=count, database=None, deadline=None, phases=phases,
                     suppress_health_check=list(HealthCheck))  # fmt: skip

    def each(drawn: Drawn) -> None:
        look(drawn)

    seed(number)(quiet(given(drawn=graphs(ROWS))(each)))()


def _signature(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=RESULTS)
    given_options = parser.parse_args()
    logging.disable(logging.WARNING)  # onnxruntime's quantizer has advice a graph
    onnxruntime.set_default_logger_severity(4)
    start = time.monotonic()
    summary, failures = explore(given_options.graphs, given_options.seed)
    worst = max(max(e["onnxruntime"], e["xnnpack"]) for e in summary["worst_code_difference"].values())
    print(
        f"{summary['graphs']} graphs in {time.monotonic() - start:.0f} s, {len(summary['onnx_operations'])} ONNX and "
        f"{len(summary['worst_code_difference'])} TFLite operations, {sum(summary['refused'].values())} refused, "
        f"at most {worst} codes apart a layer"
    )
    for name, times in summary["failures"].items():
        print(f"  {times} x {name}", file=sys.stderr)
    if failures:
        shrink(given_options.graphs, given_options.seed)
        return 1
    given_options.save.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
