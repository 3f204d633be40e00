"""Whether instructions fall with multiply-adds: an untrained ResNet-20 for 3x32x32 through methods, under QEMU.

    python tests/benchmarks/compress_instructions.py [NAME,key=value,... ...]

What is named is measured anew, the rest of docs/results/compress-instructions.json kept; the tables on the methods'
pages are made from that file. ``slope`` is how much of the fall in multiply-adds the instructions follow: 1 is all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeq import bench, export
from edgeq.bench.artifact import BenchRequest
from edgeq.compress import method_from_option
from edgeq.compress.count import count_model
from edgeq.compress.method import Context
from edgeq.data import load_data
from edgeq.manifest import package_versions
from edgeq.models import build_network
from edgeq.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
RESULT = DOCS / "results" / "compress-instructions.json"
BEGIN, END = "<!-- instructions: begin -->", "<!-- instructions: end -->"
LANES = {"cortex-a7": "xnnpack", "cortex-a75": "litert"}
SHAPE = (3, 32, 32)
OPTIONS = [f"prune-channels,share={share},multiple={many}" for many in (16, 8) for share in (0.25, 0.5, 0.75)]
PLAIN = "none"


def measure(option: str) -> dict[str, Any]:
    """Multiply-adds, bytes and instructions of the network after a method; of the network itself for ``none``."""
    model = build_network("resnet20", num_classes=10, input_shape=SHAPE, seed=0).eval()
    if option != PLAIN:
        recipe = Recipe()
        method_from_option(option).apply(model, Context(load_data(recipe.data.path), recipe))
    counted = count_model(model, SHAPE)
    pixels = np.random.default_rng(0).uniform(-1, 1, (64, *SHAPE)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="edgeq-instructions-") as folder:
        file = export(model, SHAPE, pixels, Path(folder) / "out").out / "model.tflite"
        found = {"macs": counted["macs"], "parameters": counted["parameters"], "tflite_bytes": file.stat().st_size}
        for target, lane in LANES.items():
            result = bench(file, target, BenchRequest(lanes=(lane,), operations=False))
            found[target] = result.emulations[0].lanes[0].counts.total
    print(option, found, flush=True)
    return found


def with_slopes(networks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each row with its ratios to the plain network."""
    plain = networks[PLAIN]
    for row in networks.values():
        row["macs_ratio"] = round(row["macs"] / plain["macs"], 4)
        for target in LANES:
            ratio = row[target] / plain[target]
            row[f"{target}_ratio"] = round(ratio, 4)
            if row is not plain:
                row[f"{target}_slope"] = round((1 - ratio) / (1 - row["macs"] / plain["macs"]), 3)
    return networks


def page_table(networks: dict[str, dict[str, Any]], method: str) -> str:
    """The Markdown table of one method."""
    lines = ["| | multiply-adds | `.tflite` | instructions on A7 | slope | instructions on A75 | slope |",
             "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for option, row in networks.items():
        if option != PLAIN and option.partition(",")[0] != method:
            continue
        cells = [f"`{option}`" if option != PLAIN else "as it is", f"{row['macs']:,} ({row['macs_ratio']:.3f})"]
        cells.append(f"{row['tflite_bytes']:,}")
        for target in LANES:
            cells += [f"{row[target]:,} ({row[f'{target}_ratio']:.3f})", f"{row.get(f'{target}_slope', '')}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_pages(networks: dict[str, dict[str, Any]]) -> None:
    """The table into each page that has a place for it."""
    for page in sorted((DOCS / "compress").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if BEGIN in text:
            before, _, rest = text.partition(BEGIN)
            after = rest.partition(END)[2]
            page.write_text(f"{before}{BEGIN}\n{page_table(networks, page.stem)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("options", nargs="*", metavar="NAME,key=value,...", help="as for edgeq build --compress")
    wanted = parser.parse_args().options
    kept = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else {}
    torch.set_num_threads(1)
    for option in wanted or [PLAIN, *OPTIONS]:
        kept[option] = measure(option)
    if PLAIN not in kept:
        kept[PLAIN] = measure(PLAIN)
    command = "python tests/benchmarks/compress_instructions.py"
    document = {"command": command, "network": "resnet20, 3x32x32, untrained", "lanes": LANES,
                "versions": package_versions(), "networks": with_slopes(kept)}  # fmt: skip
    RESULT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    write_pages(kept)


if __name__ == "__main__":
    main()
