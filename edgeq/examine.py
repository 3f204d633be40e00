"""The public functions that look at what is there: paths as strings or Paths, one result each.

They promise what those of :mod:`edgeq.api` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.display.progress import ProgressLike, resolve_progress
from edgeq.results import BuildResult, ConvertResult, ExportResult, ReportResult, VerifyResult, artifact_path

if TYPE_CHECKING:
    import onnx

    from edgeq.accumulate import Accumulators
    from edgeq.bench.artifact import BenchRequest, BenchResult
    from edgeq.bench.board import Measured
    from edgeq.bench.result import Emulation
    from edgeq.inspection import Inspection
    from edgeq.layer_costs import Sensitivity
    from edgeq.posttraining import CalibrationData
    from edgeq.targets import Target
    from edgeq.widths import BitSearch

__all__ = ["accumulators", "bench", "inspect", "report", "search_bits", "sensitivity", "verify"]


def verify(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    reference_samples: int | None = None,
    progress: ProgressLike = None,
) -> VerifyResult:
    """Check a build again, in every runtime: ``edgeq verify``.

    Args:
        folder: a build's output folder.
        data: where the data are now; None: where the recipe says.
        reference_samples: images for LiteRT's reference kernels, which are slow; None for 256.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        Accuracy by runtime, parity by layer.

    Raises:
        FormatError: a file is missing or damaged.
        VerifyError: a file is not the one the manifest names, the data are others, or two runtimes do not agree.
    """
    from edgeq.reverify import verify_build

    with resolve_progress(progress) as shown:
        found = verify_build(
            Path(folder),
            data=None if data is None else str(data),
            reference_samples=reference_samples,
            progress=shown,
        )
    return VerifyResult(Path(folder), found)


def bench(
    artifact: str | Path | BuildResult | ExportResult | ConvertResult,
    targets: str | Path | Target | Sequence[str | Path | Target] = "cortex-a75",
    request: BenchRequest | None = None,
    *,
    compare: str | Path | None = None,
    check: bool = True,
    progress: ProgressLike = None,
) -> BenchResult:
    """What an artifact costs on a device: ``edgeq bench``.

    Under QEMU instructions are counted and times estimated; on a board times are measured.

    Args:
        artifact: a build's folder, whose golden vectors are then checked and whose manifest gets the figures; a
            .tflite file; or the result of one of these functions.
        targets: a device by name or TOML file, or several.
        request: how it is run; None for QEMU.
        compare: a second artifact, side by side.
        check: hold the outputs to the host's and record the figures in the build's manifest. With False the result
            comes back as it is; its ``check()`` and ``record()`` do both.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        A result a device.

    Raises:
        VerifyError: with ``check``, a runtime that must give the host's bytes does not.
        EdgeqError: a file is damaged, a tool is missing, the device cannot be reached or is too noisy.
    """
    from edgeq.bench.artifact import BenchRequest, bench_artifacts
    from edgeq.targets import Target, load_target

    given = [targets] if isinstance(targets, str | Path | Target) else targets
    devices = [item if isinstance(item, Target) else load_target(item) for item in given]
    with resolve_progress(progress) as shown:
        result = bench_artifacts(
            artifact_path(artifact),
            devices,
            request or BenchRequest(),
            compare=None if compare is None else Path(compare),
            progress=shown,
        )
    if check:
        result.check()
        result.record()
    return result


def report(
    folder: str | Path, bench: str | Path | BenchResult | None = None, *, progress: ProgressLike = None
) -> ReportResult:
    """Draw ``report.html`` of a finished build or export again, with what a bench found: ``edgeq report``.

    Args:
        folder: what :func:`build`, :func:`export` or :func:`quantize` left.
        bench: what :func:`bench` returned, or ``edgeq bench --save`` wrote; its figures go into the manifest, too.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        The page, and the manifest with its fingerprint.

    Raises:
        FormatError: a file is missing, damaged, or not of the same artifact. Page and manifest are then as they were.
    """
    from edgeq.report.page import PAGE
    from edgeq.report.redraw import redraw

    with resolve_progress(progress) as shown:
        shown.stage("Report")
        manifest = redraw(Path(folder), *_benched(bench))
    return ReportResult(Path(folder) / PAGE, manifest)


def inspect(file: str | Path) -> Inspection:
    """What is in a .tflite, .onnx or .edgeqpack file: operations, tensors, grids, sizes: ``edgeq inspect``.

    Args:
        file: of any maker.

    Returns:
        The file, taken apart.

    Raises:
        FormatError: it cannot be read, is damaged, or is neither TFLite, ONNX nor a package.
    """
    from edgeq.inspection import inspect_file

    return inspect_file(Path(file))


def sensitivity(
    source: str | Path | onnx.ModelProto,
    *,
    data: str | Path | None = None,
    calibration_data: CalibrationData | None = None,
    calibration: str | None = None,
    bits: int | None = None,
    samples: int = 128,
    progress: ProgressLike = None,
) -> Sensitivity:
    """Which layer costs how much: one layer quantized at a time, and all but one: ``edgeq sensitivity``.

    Args:
        source: a build's folder, measured with its codes and test images; or a float .onnx file or model, rounded as
            :func:`quantize` does.
        data: labelled images, as :func:`build` takes them; of a build, where they are now.
        calibration_data: of a model without labelled data, as for :func:`quantize`.
        calibration: of a model, a recipe by name or file; None for ``minmax``.
        bits: of a model's weights; None for 8.
        samples: how many are run through each variant, at most.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        A row a layer, the costliest first.

    Raises:
        RecipeError: an option that this source has no use for, or data missing.
        EdgeqError: FormatError, DataError or ExportError, with the file or node at fault.
    """
    from edgeq.errors import RecipeError
    from edgeq.grid import Grid
    from edgeq.layer_costs import build_sensitivity, model_sensitivity
    from edgeq.posttraining import ExportRequest

    given = {"--calibration-data": calibration_data, "--calibration": calibration, "--bits": bits}
    place = None if data is None else str(data)
    with resolve_progress(progress) as shown:
        if isinstance(source, str | Path) and Path(source).is_dir():
            if used := [name for name, value in given.items() if value is not None]:
                raise RecipeError("a build has its own", where=source, got=", ".join(used), remedy="leave it out")
            return build_sensitivity(Path(source), data=place, samples=samples, progress=shown)
        if (data is None) == (calibration_data is None):
            raise RecipeError(
                "a model needs data", where="sensitivity", got="both" if data is not None else "none",
                wanted="--data (labelled images) or --calibration-data",
            )  # fmt: skip
        request = ExportRequest(
            "" if calibration_data is None else calibration_data,
            calibration=calibration or "minmax",
            grid=Grid(bits or 8),
        )
        return model_sensitivity(
            Path(source) if isinstance(source, str) else source, request, data=place, samples=samples, progress=shown
        )


def accumulators(
    artifact: str | Path | BuildResult | ExportResult | ConvertResult,
    *,
    data: str | Path | None = None,
    bits: Sequence[int] = (),
    chain: int = 2,
    samples: int = 32,
    progress: ProgressLike = None,
) -> Accumulators:
    """How wide the accumulators of an int8 file must be: ``edgeq accumulators``.

    Args:
        artifact: a .tflite file of any maker, a build's folder, or the result of one of these functions.
        data: labelled images to watch the sums on, as :func:`edgeq.build` takes them; with ``bits``, a build's
            own.
        bits: widths to try on them, wrapping around and saturating.
        chain: products that a kernel adds in int16 before it widens them.
        samples: test images that are run, at most.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        Bits of each layer by formula, by weights and seen, its int16 chains, and the accuracy at each width.

    Raises:
        FormatError: the file is damaged, or has no layer of integers.
        RecipeError: a width or length out of range, or widths to try without data.
        DataError: the images cannot be read or do not fit the file.
    """
    from edgeq.accumulate.request import analyse_artifact

    with resolve_progress(progress) as shown:
        return analyse_artifact(
            artifact_path(artifact),
            data=None if data is None else str(data),
            bits=tuple(bits),
            length=chain,
            samples=samples,
            progress=shown,
        )


def search_bits(
    folder: str | Path | BuildResult,
    tolerance: float | Sequence[float] = 1.0,
    *,
    data: str | Path | None = None,
    samples: int = 512,
    data_bits: bool = True,
    budget: int = 400,
    recipe_out: str | Path | None = None,
    progress: ProgressLike = None,
) -> BitSearch:
    """The fewest bits of weights and data by layer that keep a network's accuracy: ``edgeq search-bits``.

    Args:
        folder: what :func:`edgeq.build` or :func:`edgeq.train` left; its float network is rounded anew.
        tolerance: points of accuracy that may be lost, or several.
        data: where the data are now; None: where the build's recipe says.
        samples: validation images, drawn from the training images; test images choose nothing.
        data_bits: search those of the data, too; else they stay 8.
        budget: the most measurements of the network.
        recipe_out: a TOML file for the build's recipe with the bits of the first tolerance.
        progress: ``"auto"`` shows bars or lines on stderr; None shows nothing.

    Returns:
        Bits of each layer, accuracy and traffic within each tolerance, and the front between them.

    Raises:
        FormatError: a file is missing or damaged.
        RecipeError: a tolerance out of range, or a network without integer weights.
        DataError: too few images, or 8 bits lose more than the tolerance.
    """
    from edgeq.widths import search_build

    with resolve_progress(progress) as shown:
        return search_build(
            folder.out if isinstance(folder, BuildResult) else Path(folder),
            tolerances=(tolerance,) if isinstance(tolerance, int | float) else tuple(tolerance),
            data=None if data is None else str(data),
            samples=samples,
            data_bits=data_bits,
            budget=budget,
            recipe_out=None if recipe_out is None else Path(recipe_out),
            progress=shown,
        )


def _benched(bench: str | Path | BenchResult | None) -> tuple[Sequence[Emulation | Measured], Path | None]:
    """What a bench found, and where that stands."""
    if bench is None:
        return (), None
    if isinstance(bench, str | Path):
        from edgeq.bench.results_file import read_bench

        return read_bench(Path(bench)), Path(bench)
    return (*bench.results, *bench.compared), bench.artifact
