"""From a manifest to the page's head and its pictures: verdict, tiles, sizes, disagreements. No HTML here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.display.words import size
from edgeq.report.content import Details

__all__ = [
    "Answer",
    "FileRow",
    "Picture",
    "Verdict",
    "accuracies",
    "facts",
    "files",
    "pictures",
    "smaller",
    "stages",
    "verdict",
]

PAGE = "report.html"
ACCEPTED_DROP = 0.3  # points below float that edgeq promises at 8 bits on its own data


@dataclass(frozen=True, slots=True)
class Verdict:
    """The page's first line."""

    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network said of an image."""

    who: str
    name: str
    score: str
    right: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with its true class and both answers."""

    uri: str
    label: str
    answers: tuple[Answer, Answer]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file's size and fingerprint, or the size of so many in a folder, whose ``path`` ends in a slash."""

    path: str
    size_bytes: int
    sha256: str
    count: int


def accuracies(manifest: Mapping[str, Any]) -> list[tuple[str, str, float, float | None]]:
    """Stage, what ran, accuracy in percent and points above float, of each stage that the manifest has."""
    measured = manifest.get("accuracy") or {}
    mode = manifest.get("mode", "int8")
    ran = {
        "float": ("Float", "PyTorch, float32"),
        "snapped": ("Snapped", "PyTorch, weights on the grid"),
        "onnx": ("ONNX", f"onnxruntime, {mode}"),
        "tflite": ("TFLite", f"LiteRT, {mode}"),
    }
    base = measured.get("float")
    return [
        (*words, measured[key], None if base is None or key == "float" else measured[key] - base)
        for key, words in ran.items()
        if measured.get(key) is not None
    ]


def verdict(manifest: Mapping[str, Any]) -> Verdict | None:
    """Whether the artifact keeps what was trained, in one sentence; None where nothing was verified."""
    measured, parity = manifest.get("accuracy") or {}, manifest.get("parity") or {}
    before, after = measured.get("float"), measured.get("tflite")
    if before is None or after is None:
        return None
    drop = before - after
    place = "as accurate as" if abs(drop) < 0.005 else f"{abs(drop):.2f} points {'below' if drop > 0 else 'above'}"
    text = f"model.tflite is {place} the float network"
    if parity.get("max_code_difference") is not None:
        codes = parity["max_code_difference"]
        text += f"; the runtimes differ by {codes} {'code' if codes == 1 else 'codes'} at most"
    return Verdict(drop <= ACCEPTED_DROP + 1e-9, text + ".")


def smaller(manifest: Mapping[str, Any]) -> float | None:
    """How many times smaller model.tflite is than the float32 checkpoint; None where one is missing."""
    sizes = {item["path"]: item["bytes"] for item in manifest.get("artifacts") or []}
    before, after = sizes.get("checkpoint.safetensors"), sizes.get("model.tflite")
    return before / after if before and after else None


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tiles beside the accuracies: what, figure, explanation."""
    sizes = {item["path"]: item["bytes"] for item in manifest.get("artifacts") or []}
    parity = manifest.get("parity") or {}
    tiles = []
    if "model.tflite" in sizes:
        times = smaller(manifest)
        words = f"{times:.2f} times smaller than the float32 checkpoint" if times else "the artifact"
        tiles.append(("model.tflite", size(sizes["model.tflite"]), words))
    errors = manifest.get("error") or {}
    if errors.get("tflite") is not None and errors.get("float") is not None:
        tiles.append(("Mean squared error", f"{errors['tflite']:.3g}", f"{errors['float']:.3g} of the float network"))
    if parity.get("codes"):
        kept = f"{100 * parity.get('codes_kept', 0) / parity['codes']:.4g} %"
        tiles.append(("Integers kept", kept, f"{parity.get('codes_kept', 0):,} of {parity['codes']:,}, in both files"))
    if parity.get("top1_agreement") is not None:
        tiles.append(("Same class", f"{parity['top1_agreement']:.2f} %", "onnxruntime and LiteRT"))
    for entry in manifest.get("bench") or []:
        if entry.get("estimate"):
            figure = f"{entry['estimate']['low_ms']:.2g}\u2013{entry['estimate']['high_ms']:.2g} ms"
            tiles.append(("Time, estimated", figure, f"one inference on one {entry['target']} core"))
            break
        if entry["basis"] == "measured":
            tiles.append(("Time, measured", f"{entry['p50_ms']:.3g} ms", f"median on {entry['target']}"))
            break
    return tiles


def files(manifest: Mapping[str, Any]) -> list[FileRow]:
    """The artifacts but the page itself; those of a folder are one row, such as ``android/``."""
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for item in manifest.get("artifacts") or []:
        if item["path"] != PAGE:
            top, slash, _ = item["path"].partition("/")
            folders.setdefault(top + slash, []).append(item)
    return [
        FileRow(
            path if len(items) > 1 else items[0]["path"],
            sum(item["bytes"] for item in items),
            items[0]["sha256"],
            len(items),
        )
        for path, items in folders.items()
    ]


def stages(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those before the page was drawn: what its own drawing takes is not known then."""
    return [stage for stage in manifest.get("stages") or [] if stage["name"] != "report"]


def pictures(details: Details, classes: Sequence[str]) -> list[Picture]:
    """The disagreements that are shown."""
    found = []
    for item in details.shown:
        answers = [("float", item.float_class, item.float_score), ("int8", item.int8_class, item.int8_score)]
        first, second = (
            Answer(who, classes[index], f"{100 * score:.0f} %", index == item.label) for who, index, score in answers
        )
        found.append(Picture(item.image, classes[item.label], (first, second)))
    return found
