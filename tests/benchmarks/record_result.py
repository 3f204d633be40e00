"""Keep the figures of a long run: the manifest, shortened, as docs/results/NAME.json, and the table in docs/results.md.

    python tests/benchmarks/record_result.py out/cifar10 cifar10-resnet20 --command "make cifar10"

The page is written from the JSON files alone, so a figure on it is one that a run left.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgeq.manifest import mean_distance

DOCS = Path(__file__).parents[2] / "docs"
KEPT = ("edgeq", "versions", "recipe", "seed", "data", "training", "accuracy")
COLUMNS = ("network, data", "bits", "epochs", "float", "snapped", "ONNX", "TFLite", ".tflite", "distance", "codes kept")


def shorten(manifest: dict[str, Any], command: str) -> dict[str, Any]:
    """What is worth keeping of a manifest, with the command and the machine."""
    result = {"command": command, "machine": machine()} | {key: manifest[key] for key in KEPT}
    result["parity"] = {key: value for key, value in manifest["parity"].items() if key != "layers"}
    result["distance"] = round(mean_distance(manifest["layers"]), 5)
    result["artifacts"] = {item["path"]: item["bytes"] for item in manifest["artifacts"]}
    result["seconds"] = {item["name"]: item["seconds"] for item in manifest["stages"]}
    result["peak_rss_mb"] = max(item["peak_rss_mb"] for item in manifest["stages"])
    return result


def machine() -> str:
    """The processor and how many cores of it there are."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


def page_table(results: list[dict[str, Any]]) -> str:
    """The Markdown table of all kept builds."""
    rows, notes = [], []
    for result in results:
        accuracy, parity, recipe = result["accuracy"], result["parity"], result["recipe"]
        cells = [
            f"{recipe['model']}, {result['data']['name']}",
            str(recipe["bits"]),
            str(recipe["train"]["epochs"]),
            *(f"{accuracy[key]:.2f} %" for key in ("float", "snapped", "onnx", "tflite")),
            f"{result['artifacts']['model.tflite']:,} B",
            f"{result['distance']:.3f} steps",
            f"{parity['codes_kept']:,} of {parity['codes']:,}",
        ]
        rows.append(cells)
        seconds = result["seconds"]
        notes.append(
            f"- {cells[0]}: `{result['command']}`, seed {result['seed']}, {accuracy['samples']:,} test images, "
            f"{result['training']['precision']} at {result['training']['images_per_second']:,.0f} images/s, training "
            f"{seconds['train'] / 60:.1f} min of {sum(seconds.values()) / 60:.1f}, at most "
            f"{result['peak_rss_mb']:,.0f} MB; layers differ by {parity['max_code_difference']} code at most, ONNX and "
            f"TFLite name the same class for {parity['top1_agreement']:.2f} % of the images. On {result['machine']}."
        )
    return "\n".join([markdown(COLUMNS, rows), "", *notes])


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def put_between(mark: str, text: str, page: Path = DOCS / "results.md") -> None:
    """Write a text between the marks of that name on a page, that of results unless another is given."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def write_page() -> None:
    """Put the table between its marks in docs/results.md."""
    found = [json.loads(path.read_text()) for path in sorted((DOCS / "results").glob("*.json"))]
    results = [result for result in found if "recipe" in result]  # the others are of the bench
    put_between("builds", page_table(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("name")
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    manifest = json.loads((arguments.build / "manifest.json").read_text(encoding="utf-8"))
    data, train = manifest["recipe"]["data"], manifest["recipe"]["train"]
    data["path"], train["init"] = Path(data["path"]).name, Path(train["init"]).name  # no path of this machine
    train["teachers"] = [Path(teacher).name for teacher in train["teachers"]]
    target = DOCS / "results" / f"{arguments.name}.json"
    target.write_text(json.dumps(shorten(manifest, arguments.command), indent=2) + "\n", encoding="utf-8")
    write_page()


if __name__ == "__main__":
    main()
