"""Keep the table of a long sweep: docs/results/NAME.json with its command and machine, and the tables on the page.

    edgeq reproduce methods ... --json > out/methods/table.json
    python tests/benchmarks/record_table.py out/methods/table.json methods --command "make cifar10-methods"

The page is written from the JSON files alone; without arguments it is written anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from record_result import DOCS, machine, markdown, put_between

from edgeq.manifest import package_versions

NOT_YET = "Not recorded yet."
FLOAT_AT_LEAST = 90.5  # percent of CIFAR-10's test images, asked of the network without a grid
METHOD_COLUMNS = (
    *("method", "bits", "before the snap", "snapped", "TFLite", "to float", "to float trained on"),
    *("by the snap", "distance", "within"),
)
STORAGE_COLUMNS = ("bits", "weights in the TFLite file", "TFLite", "ONNX", "latency", "ratio")
COMPRESSION_COLUMNS = (
    *("", "bits", "TFLite", "to plain", "weights", "MACs", ".tflite, B", "packed, B"),
    *("instructions, A7", "instructions, A75", "its own paper"),
)
TABLE2_COLUMNS = ("amplitude is", "bits", "amplitude", "paper", "here", "before the snap", "distance")


def methods(table: dict[str, Any]) -> list[str]:
    """The comparison of methods, what was asked of it, and size and latency by bits."""
    rows = []
    for row in table["rows"]:
        points = [f"{row[key]:+.2f}" if row[key] is not None else "" for key in ("to_float", "to_float_trained_on")]
        near = row["near_float"]
        within = "" if near is None else f"{near['bound']}: {_yes(near['holds'])}"
        cells = [_mean(row["before"], "{:.2f} %"), "", "", *points, "", "", within]
        if row["bits"] < 32:
            cells[1:3] = [_mean(row["snapped"], "{:.2f} %"), _mean(row["tflite"], "{:.2f} %")]
            cells[5:7] = [_mean(row["by_snap"], "{:+.2f}"), _mean(row["distance"], "{:.4f}")]
        rows.append([row["method"], "" if row["bits"] == 32 else row["bits"], *cells])
    reached = table["rows"][0]["accuracy"]
    holds = reached is not None and reached >= FLOAT_AT_LEAST
    found = "failed" if reached is None else f"{reached:.2f} %"
    asked = [[f"float: at least {FLOAT_AT_LEAST} %", found, _yes(holds)]]
    for claim in table["claims"]:
        shown = "failed" if claim["measured"] is None else f"{claim['measured']:.4g}"
        asked.append([claim["text"], shown, _yes(claim["holds"])])
    storage = [
        [
            row["bits"],
            ", ".join(f"{count} {kind}" for kind, count in sorted(row["weights"].items(), reverse=True)),
            *(f"{row[key]:,} B" for key in ("tflite_bytes", "onnx_bytes")),
            f"{row['latency_ms']:.3f} ms",
            f"{row['latency_ratio']:.2f}",
        ]
        for row in table["storage"]
    ]
    reasons = dict.fromkeys(reason for row in table["storage"] for reason in row["reasons"])
    epochs = f"{_start(table)}, then {table['fine_tuning_epochs']} for each other row"
    return [
        f"{_origin(table)} {epochs}; accuracies of the whole test set, differences in points, distances in steps.",
        *("", markdown(METHOD_COLUMNS, rows), ""),
        *("What was asked, computed from these rows (the pull is the method `periodic`):", ""),
        markdown(("asked", "measured", "holds"), asked),
        *("", "Size and latency, LiteRT with one thread, ratios measured in turns in one run:", ""),
        markdown(STORAGE_COLUMNS, storage),
        *("", *(f"Why not fewer: {reason}." for reason in reasons)),
    ]


def table2(table: dict[str, Any]) -> list[str]:
    """The paper's Table 2, and whether it has the paper's shape."""
    rows = []
    for row in table["rows"]:
        name = ["without the term", "", ""] if row["schedule"] is None else [
            row["schedule"], row["bits"], f"{row['amplitude']:g}"]  # fmt: skip
        cells = [f"{row['paper']:.2f} %", f"{row['mean']:.2f} %", _mean(row["unrounded"], "{:.2f} %")]
        rows.append([*name, *cells, _mean(row["distance"], "{:.3f}")])
    claims = [f"- {claim.replace('_', ' ')}: {_yes(holds)}" for claim, holds in table["shape"].items()]
    return [
        f"{_origin(table)} {table['epochs']} epochs from scratch, batches of 256; a diverged training counts as 0.",
        *("", markdown(TABLE2_COLUMNS, rows), "", *claims, *_failed(table)),
    ]


def compression(table: dict[str, Any]) -> list[str]:
    """Every compression method beside the plain 8-bit build."""
    first = table["rows"][0]
    rows = []
    for row in table["rows"]:
        pairs = [(row[key], first[key]) for key in ("weights", "macs", "tflite_bytes", "packed_bytes")]
        pairs += [(count, first["instructions"][target]) for target, count in row["instructions"].items()]
        far = "" if row["to_plain"] is None else f"{row['to_plain']:+.2f}"
        cells = [_share(value, plain, row is first) for value, plain in pairs]
        reached = "not for it" if row.get("refused") else _mean(row["tflite"], "{:.2f} %")
        rows.append([row["name"], row["bits"], reached, far, *cells, row["paper"]])
    epochs = f"{_start(table)} ({_mean(table['float_accuracy'], '{:.2f} %')}), then"
    return [
        f"{_origin(table)} {epochs} {table['retraining_epochs']} for each row; sizes and counts of the first seed.",
        *("", markdown(COMPRESSION_COLUMNS, rows), "", *_refused(table), *_failed(table)),
    ]


def _start(table: dict[str, Any]) -> str:
    """How the networks without a grid were trained; tables of before it was kept had epochs alone."""
    return str(table.get("start", f"{table['epochs']} epochs without a grid"))


PAGES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "compression": compression,
    "compression-lenet5": compression,
    "methods": methods,
    "table2": table2,
}


def _refused(table: dict[str, Any]) -> list[str]:
    """A line a reason, with the rows that it keeps from the network."""
    rows = [(row["refused"], f"`{row['name']}`") for row in table["rows"] if row.get("refused")]
    return [f"- not for this network: {names}: {reason}" for reason, names in _by_reason(rows)]


def _failed(table: dict[str, Any]) -> list[str]:
    """A line a reason, with the runs that it stopped."""
    stopped = [(line.removeprefix("edgeq: error: "), name) for name, line in table["failures"].items()]
    return [f"- failed: {names}: {reason}" for reason, names in _by_reason(stopped)]


def _by_reason(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each reason once, with the names that have it."""
    found: dict[str, list[str]] = {}
    for reason, name in pairs:
        found.setdefault(reason, []).append(name)
    return [(reason, ", ".join(names)) for reason, names in found.items()]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _share(value: int, plain: int, first: bool) -> str:
    """A figure of the plain build's row; the share of it in the others."""
    return "" if not value else f"{value:,}" if first or not plain else f"x{value / plain:.2f}"


def _origin(table: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, table["seeds"]))
    kind = "mean of seeds" if len(table["seeds"]) > 1 else "seed"
    return f"`{table['command']}`, {kind} {seeds}, {table['machine']}."


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return "failed" if len(known) < len(values) else form.format(sum(known) / len(known)) if known else ""


def section(name: str) -> str:
    """What stands between the marks of a table."""
    kept = DOCS / "results" / f"{name}.json"
    return "\n".join(PAGES[name](json.loads(kept.read_text(encoding="utf-8")))) if kept.is_file() else NOT_YET


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("name", choices=sorted(PAGES), nargs="?")
    parser.add_argument("--command", default="")
    arguments = parser.parse_args()
    if arguments.table is not None:
        versions = {key: value for key, value in package_versions().items() if key != "edgeq"}
        head = {"command": arguments.command, "machine": machine(), "versions": versions}
        content = head | json.loads(arguments.table.read_text(encoding="utf-8"))
        target = DOCS / "results" / f"{arguments.name}.json"
        target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name in PAGES:
        put_between(name, section(name))


if __name__ == "__main__":
    main()
