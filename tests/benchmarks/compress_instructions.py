"""How far instructions fall with multiply-adds in networks made smaller, under QEMU, into docs.

    python tests/benchmarks/compress_instructions.py [--tables] [NETWORK[:METHOD,key=value,...] ...]

A network with random weights is compressed without training, exported, and one inference of it counted on both
targets. Variants that are named are counted anew, the others kept as they are in compress-instructions.json; the
tables on the methods' pages are made from that file. The slope is the fall of the instructions over the fall of the
multiply-adds.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from network_parity import randomize
from record_result import DOCS, machine, markdown, put_between

import edgeq
from edgeq.bench.artifact import BenchRequest
from edgeq.compress import Context, method_from_option
from edgeq.compress.count import count_model
from edgeq.data import ImageData
from edgeq.manifest import package_versions
from edgeq.models import build_network
from edgeq.recipe import Recipe

RESULT = DOCS / "results" / "compress-instructions.json"
PAGES = {
    "prune-channels.md": ("prune-channels",),
    "low-rank.md": ("low-rank", "spatial-separable", "depthwise-separable"),
}
SHAPE = (3, 32, 32)
LANES = {"cortex-a75": "litert", "cortex-a7": "xnnpack"}
RANKS = ("low-rank", "spatial-separable")
VARIANTS = (
    "resnet20",
    *(f"resnet20:prune-channels,share={share},multiple={many}" for many in (16, 8) for share in (0.25, 0.5, 0.75)),
    *(f"resnet20:{method},macs={share}" for method in RANKS for share in (0.75, 0.6, 0.5)),
    *(f"resnet20:{method},macs=0.6,slope=0" for method in RANKS),
    *(f"resnet20:depthwise-separable,multiplier={count}" for count in (1, 2, 4)),
    "resnet20:depthwise-separable,macs=0.75",
    "wrn16_4",
    *(f"wrn16_4:prune-channels,share={share},multiple=16" for share in (0.25, 0.5, 0.75)),
    *(f"wrn16_4:{method},macs={share}" for method in RANKS for share in (0.5, 0.25)),
    *(f"wrn16_4:{method},macs=0.5,slope=0" for method in RANKS),
    *(f"wrn16_4:depthwise-separable,multiplier={count}" for count in (1, 4)),
)


def measure(variant: str) -> dict[str, Any]:
    """Multiply-adds, bytes, and instructions by target."""
    network, _, method = variant.partition(":")
    model = build_network(network, num_classes=10, input_shape=SHAPE, seed=0)
    randomize(model, SHAPE)
    model = copy.deepcopy(model).eval()
    images = torch.randint(0, 256, (8, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    if method:
        labels = torch.zeros(8, dtype=torch.int64)
        data = ImageData("noise", images, labels, images, labels, tuple("0123456789"))
        method_from_option(method).apply(model, Context(data, Recipe()))
    samples = ((images.float() - 128) / 128).numpy()
    found: dict[str, Any] = count_model(model, SHAPE)
    with tempfile.TemporaryDirectory(prefix="edgeq-instructions-") as folder:
        edgeq.export(model, SHAPE, samples, folder)
        file = Path(folder) / "model.tflite"
        found["bytes"] = file.stat().st_size
        found["instructions"] = {}
        for target, lane in LANES.items():
            result = edgeq.bench(file, target, BenchRequest(operations=False, lanes=(lane,)))
            found["instructions"][target] = result.emulations[0].lanes[0].counts.total
    return found


def table(variants: dict[str, dict[str, Any]], methods: Sequence[str]) -> str:
    """The Markdown table of some methods."""
    heads = ["variant", "multiply-adds", "`.tflite`"]
    heads += [text for target in LANES for text in (target, "slope")]
    rows = []
    for name, found in variants.items():
        network, _, method = name.partition(":")
        if method and method.partition(",")[0] not in methods:
            continue
        plain = variants[network]
        macs = found["macs"] / plain["macs"]
        cells = [f"`{method}`" if method else f"{network}, plain", f"{macs:.3f}", f"{found['bytes']:,} B"]
        for target in LANES:
            ratio = found["instructions"][target] / plain["instructions"][target]
            cells += [f"{ratio:.3f}", f"{slope(found, plain, target):.2f}" if macs < 1 else ""]
        rows.append(cells)
    return markdown(heads, rows)


def slope(found: dict[str, Any], plain: dict[str, Any], target: str) -> float:
    """By how much the instructions fell over by how much the multiply-adds fell."""
    ratio = found["instructions"][target] / plain["instructions"][target]
    return float((1 - ratio) / (1 - found["macs"] / plain["macs"]))


def summary(variants: dict[str, dict[str, Any]]) -> str:
    """The Markdown table of the lowest and highest slope of each method on each network."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in variants:
        network, _, method = name.partition(":")
        if method:
            groups.setdefault((network, method.partition(",")[0]), []).append(name)
    rows = []
    for (network, method), names in groups.items():
        cells = [network, f"[`{method}`](compress/{method}.md)", str(len(names))]
        for target in LANES:
            slopes = [slope(variants[name], variants[network], target) for name in names]
            cells.append(f"{min(slopes):.2f} to {max(slopes):.2f}")
        rows.append(cells)
    return markdown(["network", "method", "variants", *LANES], rows)


def ordered(known: dict[str, Any]) -> dict[str, Any]:
    """Those that still are variants, in their order."""
    return {key: known[key] for key in VARIANTS if key in known}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    parser.add_argument("--tables", action="store_true", help="count nothing, and make the tables again")
    given = parser.parse_args()
    names = () if given.tables else given.variants or VARIANTS
    known = json.loads(RESULT.read_text()).get("variants", {}) if RESULT.exists() else {}
    for name in names:
        known[name] = measure(name)
        print(name, known[name], flush=True)
        variants = ordered(known)
        versions = {key: value for key, value in package_versions().items() if key != "edgeq"}
        command = "python tests/benchmarks/compress_instructions.py"
        content = {"command": command, "machine": machine(), "versions": versions, "variants": variants}
        RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    variants = ordered(known)
    for page, methods in PAGES.items():
        put_between("instructions", table(variants, methods), DOCS / "compress" / page)
    put_between("slopes", summary(variants))


if __name__ == "__main__":
    main()
