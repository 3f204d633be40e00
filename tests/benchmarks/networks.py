"""Every built-in network at its own size through ``edgeq export`` and every runtime, into docs/results.

    python tests/benchmarks/networks.py [NAME ...]

With ``EDGEQ_TFLITE_RUNTIME_PYTHON`` naming a Python that has tflite-runtime 2.14, it runs there, too. Networks that are
named are measured anew, the others kept as they are in networks.json; the table on the page is made from that file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from network_parity import export_and_compare, randomize
from record_result import machine, markdown, put_between

from edgeq.manifest import package_versions
from edgeq.models import MODELS, build_network

DOCS = Path(__file__).parents[2] / "docs"
RESULT = DOCS / "results" / "networks.json"
SAMPLES = 8
SMALL = ((3, 32, 32), 10)
INPUTS = {
    "autoencoder": ((3, 64, 64), 10),
    "ds_cnn": ((1, 49, 10), 12),
    "ds_cnn_1d": ((40, 98), 12),
    "unet": ((3, 128, 128), 10),
    **dict.fromkeys(("lenet5_caffe", "lenet_300_100"), ((1, 28, 28), 10)),
    **dict.fromkeys(("lenet5", "mlp", "resnet20", "wrn16_4", "wrn28_10"), SMALL),
}
LEFT_OUT = {  # more of the same blocks, or plain convolutions once they are folded
    *("resnet32", "resnet44", "resnet56", "wrn16_1_bottleneck", "mnist_cnn", "cifar_cnn"),
    *("mnist_autoencoder", "sum_network"),
    *("diracnet16_1", "diracnet28_10", "diracnet28_5"),
}
COLUMNS = (
    *("network", "input", "layers", "operations", "TRANSPOSE", "by XNNPACK", "an operation"),
    *("onnxruntime", "reference", "2.14", "2.14 reference", "same class", "as float", ".tflite"),
)


def measure(name: str) -> dict[str, Any]:
    """One network, its weights random and its norms as after a training."""
    shape, classes = INPUTS.get(name, ((3, 224, 224), 1000))
    model = build_network(name, num_classes=classes, input_shape=shape, seed=0)
    randomize(model, shape)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="edgeq-networks-") as folder:
        found = export_and_compare(name, model, shape, Path(folder), classes=classes, samples=SAMPLES)
    worst = found["layer_difference"]
    print(
        f"{name:20s} {worst} codes an operation, top-1 {found['top1']} %, {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return found


def table(networks: dict[str, dict[str, Any]]) -> str:
    """The Markdown table."""
    rows = []
    for name, found in networks.items():
        final = found["final_difference"]
        old = [final.get(f"tflite-runtime, {kernels}", "refused") for kernels in ("default", "reference")]
        cells = [name, "x".join(map(str, found["input"])), found["layers"], found["operations"], found["transposes"],
                 found["delegated"], found["layer_difference"], final["onnxruntime"], final["reference"], *old,
                 f"{found['top1']:g} %", f"{found['top1_float']:g} %", f"{found['bytes']:,} B"]  # fmt: skip
        rows.append(cells)
    return markdown(COLUMNS, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names or [name for name in MODELS if name not in LEFT_OUT]
    known = json.loads(RESULT.read_text())["networks"] if RESULT.exists() else {}
    for name in names:
        known[name] = measure(name)
        networks = {key: known[key] for key in MODELS if key in known}
        versions = {key: value for key, value in package_versions().items() if key != "edgeq"}
        content = {"command": "make networks", "machine": machine(), "versions": versions, "networks": networks}
        RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        put_between("networks", table(networks))
    return int(any(known[name]["layer_difference"] > 1 for name in names))


if __name__ == "__main__":
    sys.exit(main())
