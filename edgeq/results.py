"""What the public functions return: frozen data that show themselves as the commands do. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.display.summary import Result, Summary, Table, table
from edgeq.display.words import size
from edgeq.manifest import mean_distance
from edgeq.verify.report import ConversionProof, Verification

__all__ = [
    "BuildResult",
    "ConvertResult",
    "ExportResult",
    "ReportResult",
    "TrainingResult",
    "VerifyResult",
    "artifact_path",
]


@dataclass(frozen=True, slots=True)
class _Folder(Result):
    out: Path
    manifest: dict[str, Any] = field(repr=False)

    @property
    def grid(self) -> Path:
        """The integer codes and steps."""
        return self.out / "grid.safetensors"

    def to_dict(self) -> dict[str, Any]:
        """The manifest."""
        return self.manifest


@dataclass(frozen=True, slots=True)
class _Artifact(_Folder):
    @property
    def tflite(self) -> Path:
        """The TFLite file."""
        return self.out / "model.tflite"

    @property
    def onnx(self) -> Path:
        """The QDQ ONNX file."""
        return self.out / "model.onnx"


@dataclass(frozen=True, slots=True)
class _Training(_Folder):
    @property
    def checkpoint(self) -> Path:
        """The float weights before the snap."""
        return self.out / "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class BuildResult(_Artifact, _Training):
    """A finished build.

    Attributes:
        out: the output folder.
        manifest: what its ``manifest.json`` says.
        verification: what was compared, in full.
        notes: what the user should know of the conversion.
    """

    verification: Verification = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> dict[str, float]:
        """``float``, ``snapped``, ``onnx`` and ``tflite``, in percent of the test images; empty where there are no
        classes, and the manifest has an ``error``."""
        measured = self.manifest.get("accuracy", {})
        return {name: measured[name] for name in ("float", "snapped", "onnx", "tflite") if measured}

    @property
    def checkpoint(self) -> Path:
        """The float weights before the snap."""
        return self.out / "checkpoint.safetensors"

    def summary(self) -> Summary:
        parity, (what, scores, samples) = self.manifest["parity"], _scores(self.manifest)
        sizes = {item["path"]: size(item["bytes"]) for item in self.manifest["artifacts"]}
        mode = self.manifest.get("mode", "int8")
        rows = [
            ["PyTorch, float", scores["float"], sizes.get("checkpoint.safetensors", "")],
            ["PyTorch, snapped to the grid", scores["snapped"], ""],
            [f"ONNX {mode}, onnxruntime", scores["onnx"], sizes.get("model.onnx", "")],
            [f"TFLite {mode}, LiteRT with XNNPACK", scores["tflite"], sizes.get("model.tflite", "")],
        ]
        data = self.manifest["data"]
        title = f"{self.manifest['recipe']['model']} on {data['name']}, {samples} test images"
        distance = mean_distance(self.manifest["layers"])
        lines = [
            f"weights   {parity['codes_kept']:,} of {parity['codes']:,} trained integers in both files, byte for byte",
            f"parity    {_apart(parity)}{_agreement(parity)}",
            f"snap      weights were {distance:.3f} steps from the grid on average",
            f"files     {self.out}/model.tflite, model.onnx, report.html, manifest.json",
        ]
        for width in self.manifest.get("widths", ()):
            lines.append(
                f"{width['bits']} bits    {width['tflite']:.2f} % through {self.out}/{width['path']}/model.tflite"
            )
        if any(path.startswith("android/") for path in sizes):
            lines.append(f"android   {self.out}/android, to open in Android Studio")
        return (table(title, ["", what, "size"], rows, right={1, 2}), *lines)


@dataclass(frozen=True, slots=True)
class TrainingResult(_Training):
    """A network trained onto its grid.

    Attributes:
        out: the folder with ``checkpoint.safetensors`` and ``grid.safetensors``, which :func:`edgeq.export` takes.
        manifest: what its ``manifest.json`` says.
    """

    @property
    def accuracy(self) -> dict[str, float]:
        """``float`` (as trained) and ``snapped`` (on its grid), in percent of the test images; empty where there are no
        classes, and the manifest has an ``error``."""
        measured = self.manifest.get("accuracy", {})
        return {name: measured[name] for name in ("float", "snapped") if measured}

    def summary(self) -> Summary:
        what, scores, _ = _scores(self.manifest)
        return (f"{what}: float {scores['float']}, snapped {scores['snapped']}, in {self.out}",)


@dataclass(frozen=True, slots=True)
class ExportResult(_Artifact):
    """A network that was exported or quantized.

    Attributes:
        out: the output folder.
        manifest: what its ``manifest.json`` says.
    """

    def summary(self) -> Summary:
        sizes = {item["path"]: size(item["bytes"]) for item in self.manifest["artifacts"]}
        parity = self.manifest["parity"]
        return (
            f"{self.out}/model.tflite  {sizes['model.tflite']}",
            f"{self.out}/model.onnx    {sizes['model.onnx']}",
            f"{_apart(parity)} between runtimes",
            f"{parity['codes_kept']:,} of {parity['codes']:,} integers in both files",
        )


@dataclass(frozen=True, slots=True)
class ReportResult(Result):
    """A report that was drawn again.

    Attributes:
        path: the page.
        manifest: what the ``manifest.json`` beside it says.
    """

    path: Path
    manifest: dict[str, Any] = field(repr=False)

    def summary(self) -> Summary:
        return (str(self.path),)

    def to_dict(self) -> dict[str, Any]:
        """The manifest."""
        return self.manifest


@dataclass(frozen=True, slots=True)
class ConvertResult(Result):
    """A QDQ ONNX model that became a TFLite file.

    Attributes:
        path: the .tflite file.
        size_bytes: of the file.
        operators: operations in it.
        proof: each operation beside onnxruntime's, and the outputs beside those of the ONNX model.
        notes: what had to be added to keep the meaning, a line each.
    """

    path: Path
    size_bytes: int
    operators: int
    proof: ConversionProof
    notes: tuple[str, ...] = ()

    def summary(self) -> Summary:
        proof, outputs, samples = self.proof, self.proof.outputs, _count(self.proof.samples, "sample")
        line = f"operations at most {_count(proof.max_code_difference, 'code')} from onnxruntime's"
        if outputs is not None:
            line += f"; outputs {outputs.equal:.4g} % equal to the ONNX model's"
            if outputs.max_code_difference:
                line += f", at most {_count(outputs.max_code_difference, 'code')} apart"
        return (f"{self.path}  {size(self.size_bytes)}, {self.operators} operations", f"{line} ({samples})")

    def to_dict(self) -> dict[str, Any]:
        """``path``, ``bytes``, ``operators``, ``parity`` and ``notes``."""
        outputs = self.proof.outputs
        return {
            "path": str(self.path),
            "bytes": self.size_bytes,
            "operators": self.operators,
            "parity": {
                "max_code_difference": self.proof.max_code_difference,
                "samples": self.proof.samples,
                "outputs": None if outputs is None else dataclasses.asdict(outputs),
                "layers": [dataclasses.asdict(layer) for layer in self.proof.layers],
            },
            "notes": list(self.notes),
        }


def artifact_path(artifact: str | Path | BuildResult | ExportResult | ConvertResult) -> Path:
    """The folder or file of an artifact, however it is named."""
    if isinstance(artifact, BuildResult | ExportResult):
        return artifact.out
    return artifact.path if isinstance(artifact, ConvertResult) else Path(artifact)


_RUNTIMES = (
    ("float", "PyTorch, float"),
    ("snapped", "PyTorch, snapped"),
    ("onnx", "onnxruntime"),
    ("tflite", "LiteRT, XNNPACK"),
    ("reference", "LiteRT, reference kernels"),
)


@dataclass(frozen=True, slots=True)
class VerifyResult(Result):
    """A build that was checked again, and agrees with itself in every runtime.

    Attributes:
        folder: the build's.
        verification: what was compared, in full.
    """

    folder: Path
    verification: Verification = field(repr=False)

    @property
    def accuracy(self) -> dict[str, float]:
        """``float``, ``snapped``, ``onnx``, ``tflite`` and ``reference``, in percent of the images that each ran on."""
        return self.verification.accuracy

    def summary(self) -> Summary:
        found = self.verification
        counts = {"reference": found.reference_samples}
        what, scores, _ = _scores(found.judged())
        rows = [[label, scores[key], str(counts.get(key, found.samples))] for key, label in _RUNTIMES]
        return (
            table("", ["runtime", what, "images"], rows, right={1, 2}),
            _layer_table(found),
            f"{found.codes:,} of {found.codes:,} trained integers in both files, byte for byte",
        )

    def to_dict(self) -> dict[str, Any]:
        """``accuracy`` and ``parity``, as in a build's manifest."""
        found = self.verification
        return {
            **found.judged(),
            "parity": {
                "max_code_difference": found.max_code_difference,
                "top1_agreement": found.top1_agreement,
                "snapped_agreement": found.snapped_agreement,
                "reference_agreement": found.reference_agreement,
                "codes": found.codes,
                "codes_kept": found.codes,
                "layers": [dataclasses.asdict(layer) for layer in found.layers],
            },
        }


def _scores(manifest: Mapping[str, Any]) -> tuple[str, dict[str, str], int]:
    """What a network was judged by, the figure of each stage as it is shown, and the images."""
    what = "accuracy" if "accuracy" in manifest else "error"
    measured = manifest[what]
    form = "{:.2f} %" if what == "accuracy" else "{:.3g}"
    figures = {key: form.format(value) for key, value in measured.items() if isinstance(value, int | float)}
    return "accuracy" if what == "accuracy" else "mean squared error", figures, int(measured["samples"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _agreement(parity: Mapping[str, Any]) -> str:
    agreed = parity.get("top1_agreement")
    return "" if agreed is None else f"; ONNX and TFLite agree on {agreed:.2f} % of the images"


def _layer_table(found: Verification) -> Table:
    rows = [
        [
            layer.name,
            layer.operation,
            "-" if layer.onnx_difference is None else str(layer.onnx_difference),
            str(layer.xnnpack_difference),
            "yes" if layer.delegated else f"no: {layer.reason}",
        ]
        for layer in found.layers
    ]
    columns = ["layer", "operation", "onnxruntime", "XNNPACK", "taken by XNNPACK"]
    return table("Largest difference in codes from LiteRT's reference kernels", columns, rows, right={2, 3})


def _apart(parity: dict[str, Any]) -> str:
    """What the layers differ by: codes, or floats in units of the largest."""
    codes, error = parity["max_code_difference"], parity.get("max_float_error")
    floats = "" if error is None else f" and {error:.1e} of the largest float"
    return f"layers differ by {codes} code{floats} at most"
