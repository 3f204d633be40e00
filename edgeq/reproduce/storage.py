"""What fewer bits are worth on disk and in time: the codes of finished builds, a byte each and packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.artifact import tflite_bytes
from edgeq.export.qdq import INT4_MAX, pack_codes
from edgeq.manifest import read_manifest
from edgeq.onnx_file import load_onnx, onnx_bytes
from edgeq.recipe import load_recipe
from edgeq.reproduce.comparison import StorageRow
from edgeq.reproduce.latency import host_latencies
from edgeq.snap import load_grid
from edgeq.tasks import classifier_of, head_of
from edgeq.tflite.convert import convert_qdq
from edgeq.tflite.read import read_graph
from edgeq.verify.integers import compare_integers

__all__ = ["PackedBuild", "compare_storage", "pack_build"]


@dataclass(frozen=True, slots=True)
class PackedBuild:
    """A build's model, its codes packed.

    Attributes:
        tflite, onnx: the bytes of both files.
        notes: of the conversion.
    """

    tflite: bytes
    onnx: bytes
    notes: tuple[str, ...]


def pack_build(folder: Path) -> PackedBuild:
    """The files that ``--packed`` would have given a finished build; all else in them is as it was.

    Raises:
        FormatError: a file is missing or damaged.
        VerifyError: a packed file does not hold the trained codes; names the layer.
    """
    recipe, trained = load_recipe(folder / "recipe.toml"), load_grid(folder / "grid.safetensors")
    qdq = load_onnx(folder / "model.onnx", as_written=True)
    pack_codes(qdq, [f"{name}.weight" for name, weight in trained.items() if weight.grid.qmax <= INT4_MAX])
    floats = "float32" in recipe.plan.uses
    conversion = convert_qdq(qdq, io=recipe.quantize.ends, head=head_of(recipe), floats=floats)
    compare_integers(trained, qdq, conversion.graph, conversion.layouts)
    data = str(read_manifest(folder / "manifest.json")["data"]["name"])
    labels = tuple((folder / "labels.txt").read_text(encoding="utf-8").splitlines())
    content = tflite_bytes(conversion.graph, classifier_of(recipe, data, labels))
    return PackedBuild(content, onnx_bytes(qdq), conversion.notes)


def compare_storage(builds: Mapping[int, Path]) -> tuple[StorageRow, ...]:
    """Size and latency by bits, a byte a code and, from 4 bits on, packed.

    Args:
        builds: a finished build's folder by its bits; latencies are compared with the first.
    """
    found = []
    for bits, folder in builds.items():
        plain = PackedBuild((folder / "model.tflite").read_bytes(), (folder / "model.onnx").read_bytes(), ())
        trained = load_grid(folder / "grid.safetensors")
        layers = {f"{name}.weight" for name in trained}
        found.append((bits, False, plain, layers))
        if any(weight.grid.qmax <= INT4_MAX for weight in trained.values()):
            found.append((bits, True, pack_build(folder), layers))
    latencies = host_latencies([build.tflite for _, _, build, _ in found])
    return tuple(
        StorageRow(
            bits,
            packed,
            dict(Counter(tensor.dtype for tensor in read_graph(build.tflite).tensors if tensor.name in layers)),
            len(build.tflite),
            len(build.onnx),
            round(latency.median_ms, 4),
            round(latency.ratio, 3),
            tuple(dict.fromkeys(note.partition(": ")[2] for note in build.notes if ": " in note)) if packed else (),
        )
        for (bits, packed, build, layers), latency in zip(found, latencies, strict=True)
    )
