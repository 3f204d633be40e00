"""Check a build's folder again, from its files alone and the data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.errors import FormatError, VerifyError
from edgeq.manifest import read_manifest
from edgeq.progress import Progress, Silent
from edgeq.recipe import Recipe, load_recipe
from edgeq.verify.check import REFERENCE_SAMPLES, verify
from edgeq.verify.report import Verification

if TYPE_CHECKING:
    from torch import nn

    from edgeq.activations import ActivationRounding
    from edgeq.data import ImageData

__all__ = ["verify_build"]

VERIFIED = ("model.tflite", "model.onnx", "checkpoint.safetensors", "grid.safetensors", "recipe.toml")


def verify_build(
    folder: Path,
    *,
    data: str | None = None,
    reference_samples: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify what ``edgeq build`` left: the files against the manifest, each other, and every runtime.

    Args:
        folder: a build's output folder.
        data: where the data are now; None: where the recipe says.
        reference_samples: images for LiteRT's reference kernels.
        progress: shown.

    Raises:
        FormatError: a file is missing or damaged.
        VerifyError: a file is not the one the manifest names, the data are others, or two runtimes do not agree.
    """
    from edgeq.activations import rounded
    from edgeq.data import load_data
    from edgeq.models import load_weights
    from edgeq.onnx_file import load_onnx
    from edgeq.snap import load_grid, put_codes
    from edgeq.tasks import head_of, make_network, targets_of
    from edgeq.tflite.convert import convert_qdq
    from edgeq.verify.pytorch import run_pytorch

    progress = progress or Silent()
    manifest = read_manifest(folder / "manifest.json")
    _check_files(folder, manifest)
    recipe = load_recipe(folder / "recipe.toml")
    progress.stage("Data")
    images = load_data(
        data or recipe.data.path,
        image_size=recipe.data.image_size,
        crop=recipe.data.crop,
        cache=recipe.data.cache,
        unreadable=recipe.data.unreadable,
        progress=progress,
    )
    if images.sha256 != manifest["data"]["sha256"]:
        raise VerifyError("the data are not those of the build", where=images.name, remedy="name them with --data")
    progress.stage("Network")
    model = make_network(recipe, images)
    load_weights(model, folder / "checkpoint.safetensors")
    trained = load_grid(folder / "grid.safetensors")
    logits = {"float": run_pytorch(model, images.test_images, progress=progress, label="PyTorch, float")}
    put_codes(model, trained)
    with rounded(model, _rounding(model, images, folder, recipe)):
        logits["snapped"] = run_pytorch(model, images.test_images, progress=progress, label="PyTorch, snapped")
    progress.stage("Verify")
    qdq = load_onnx(folder / "model.onnx", as_written=True)
    floats = "float32" in recipe.plan.uses
    conversion = convert_qdq(qdq, io=recipe.quantize.ends, head=head_of(recipe), floats=floats)
    content = (folder / "model.tflite").read_bytes()
    return verify(
        content,
        qdq,
        trained,
        conversion.layouts,
        images.test_images.numpy(),
        images.test_labels.numpy(),
        logits,
        io=recipe.quantize.ends,
        targets=targets_of(recipe, images),
        reference_samples=reference_samples or REFERENCE_SAMPLES,
        progress=progress,
    )


def _rounding(model: nn.Module, images: ImageData, folder: Path, recipe: Recipe) -> ActivationRounding | None:
    """What rounds activations as the training had them; None where it left them float."""
    from edgeq.activations import ActivationRounding, find_sites
    from edgeq.snap import load_ranges

    ranges = load_ranges(folder / "grid.safetensors")
    if not ranges:
        return None
    sites = find_sites(model, images.input_shape, power_of_two=recipe.grid.power_of_two)
    return ActivationRounding(sites, {name: ranges.get(name, (0.0, 0.0)) for name in sites.names.values()})


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Hold every file to the manifest, which must be that of a build and name all that is verified."""
    try:
        digests = {str(entry["path"]): str(entry["sha256"]) for entry in manifest["artifacts"]}
        whole = isinstance(manifest["data"]["sha256"], str) and set(VERIFIED) <= digests.keys()
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise FormatError("is not the folder of an edgeq build", where=folder, wanted=", ".join(VERIFIED))
    for name, digest in digests.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
            raise FormatError("a file of the manifest is missing", where=folder, got=name)
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise VerifyError("the file is not the one that was built", where=path)
