"""Deep Compression's two LeNets on digits, by the recipes of docs/compress/share-weights.md, into docs/results.

    python tests/benchmarks/deep_compression.py [NAME ...] [--seeds 0 1 2 3 4 5]

Each is trained dense, in float, for as many epochs as the recipe has in all, then built by the recipe and packed.
Networks and seeds that are named are measured anew, the others kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import tempfile
import tomllib
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from record_result import machine, markdown, put_between

import edgeq
from edgeq.manifest import package_versions
from edgeq.recipe import recipe_from_dict

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "compress" / "share-weights.md"
RESULT = DOCS / "results" / "deep-compression.json"
COMMAND = "make deep-compression"
PAPER = {"lenet_300_100": 40, "lenet5_caffe": 39}
"""How many times smaller on MNIST: Han et al. 2016, table 1."""


def recipes() -> list[edgeq.Recipe]:
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    tables = [tomllib.loads(block) for block in blocks]
    return [recipe_from_dict(table) for table in tables if table["model"] in PAPER]


def run(recipe: edgeq.Recipe, folder: Path) -> dict[str, Any]:
    """One seed of one network: trained dense and in float, then built by the recipe."""
    training = dataclasses.replace(recipe.train, epochs=total_epochs(recipe), distillation=0.0)
    edgeq.train(dataclasses.replace(recipe, compress=(), method="post-training", train=training), folder / "dense")
    edgeq.build(recipe, folder / "built")
    return figures(recipe, folder)


def total_epochs(recipe: edgeq.Recipe) -> int:
    return recipe.train.epochs + sum(method.rounds * method.epochs for method in recipe.compress)


def figures(recipe: edgeq.Recipe, folder: Path) -> dict[str, Any]:
    """What the two runs in a folder came to, and the package of the second."""
    dense, built = (json.loads((folder / name / "manifest.json").read_text()) for name in ("dense", "built"))
    packed = edgeq.pack(folder / "built", folder / "model.edgeqpack")
    back = edgeq.unpack(packed.path, folder / "back.tflite").path
    assert back.read_bytes() == (folder / "built" / "model.tflite").read_bytes()
    return {
        "model": recipe.model,
        "seed": recipe.seed,
        "epochs": total_epochs(recipe),
        "dense_float": dense["accuracy"]["float"],
        "tflite": built["accuracy"]["tflite"],
        "samples": built["accuracy"]["samples"],
        "parameters": packed.parameters,
        "zeros": built["compress"][-1]["zeros"],
        "tflite_bytes": packed.tflite_bytes,
        "packed_bytes": packed.size_bytes,
        "float32_ratio": packed.float32_ratio,
        "kinds": packed.to_dict()["kinds"],
    }


def table(runs: list[dict[str, Any]]) -> str:
    columns = ("network", "seed", "dense, float", "through the file", "lost", "weights left", "`.tflite`", "packed")
    rows = []
    for model, paper in PAPER.items():
        own = [run for run in runs if run["model"] == model]
        if not own:
            continue
        rows += [_cells(run["seed"], run, paper) for run in own]
        keys = ("dense_float", "tflite", "zeros", "tflite_bytes", "packed_bytes", "float32_ratio")
        rows.append(_cells("mean", {"model": model} | {key: mean(run[key] for run in own) for key in keys}, paper))
    return markdown((*columns, "times smaller", "paper"), rows)


def _cells(seed: int | str, run: dict[str, Any], paper: int) -> tuple[Any, ...]:
    return (
        f"`{run['model']}`",
        seed,
        f"{run['dense_float']:.2f} %",
        f"{run['tflite']:.2f} %",
        f"{run['dense_float'] - run['tflite']:+.2f}",
        f"{100 - 100 * run['zeros']:.1f} %",
        f"{run['tflite_bytes']:,.0f} B",
        f"{run['packed_bytes']:,.0f} B",
        f"{run['float32_ratio']:.1f}",
        paper,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(6))
    arguments = parser.parse_args()
    for recipe in recipes():
        for seed in arguments.seeds if recipe.model in (arguments.names or PAPER) else ():
            with tempfile.TemporaryDirectory() as folder:
                record(run(dataclasses.replace(recipe, seed=seed), Path(folder)))
    return 0


def record(found: dict[str, Any]) -> None:
    """Put a run's figures in the place of the same network's and seed's."""
    print(json.dumps(found), flush=True)
    known = json.loads(RESULT.read_text())["runs"] if RESULT.exists() else []
    kept = {(item["model"], item["seed"]): item for item in [*known, found]}
    runs = [kept[key] for key in sorted(kept)]
    versions = {key: value for key, value in package_versions().items() if key != "edgeq"}
    content = {"command": COMMAND, "machine": machine(), "versions": versions, "runs": runs}
    RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    put_between("deep-compression", table(runs))


if __name__ == "__main__":
    sys.exit(main())
