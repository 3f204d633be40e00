"""Write the Android project: the templates with the model's names in them, and the model itself as assets.

Nothing here calls Gradle or needs an Android SDK.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from edgeq.android.golden_file import golden_bytes
from edgeq.android.names import app_name, module_name, package_name, resource_text
from edgeq.errors import FormatError, RecipeError
from edgeq.golden import load_golden
from edgeq.manifest import artifact_entries, read_manifest, write_manifest
from edgeq.recipe import Recipe, load_recipe

__all__ = ["FOLDER", "LITERT_VERSION", "android_files", "check_android", "write_android"]

FOLDER = "android"
ASSETS = Path("app/src/main/assets")
SUFFIX = ".jinja"

# On Google's Maven repository, of the sources that ai-edge-litert 2.3 is made from; since 2.1 the library has the
# Interpreter beside CompiledModel, whose buffers know no uint8 (google-ai-edge/LiteRT: RELEASE.md, TensorBuffer.kt).
LITERT_VERSION = "2.3.0"
CAMERAX_VERSION = "1.5.3"


def check_android(recipe: Recipe) -> None:
    """Refuse, before anything is trained, what the app could not run.

    Raises:
        RecipeError: the file would not take a camera's bytes and give scores.
    """
    if recipe.quantize.ends != "uint8":
        raise RecipeError(
            "the Android app takes a camera's bytes and shows scores",
            where="--android",
            got=f"--io {recipe.quantize.ends}",
            wanted="--io uint8",
            remedy="leave one of the two out",
        )


def write_android(folder: Path) -> Path:
    """Write ``android/`` into a build's folder, in place of an earlier one; equal files give equal bytes.

    Args:
        folder: what ``edgeq build`` left, or is about to: ``recipe.toml``, ``model.tflite``, ``labels.txt`` and
            ``golden.npz`` are read. A ``manifest.json`` there gets the new files into its ``artifacts``.

    Returns:
        The Gradle project's folder.

    Raises:
        FormatError: a file is missing, or is not of the same model as the others.
        RecipeError: the build has no uint8 input of three channels, which the app needs.
    """
    recipe = load_recipe(folder / "recipe.toml")
    check_android(recipe)
    labels = _read(folder / "labels.txt")
    inputs, outputs = _read_golden(folder / "golden.npz")
    classes = len(labels.decode("utf-8", "replace").removesuffix("\n").split("\n"))
    if classes != outputs.shape[1]:
        raise FormatError("other classes than the golden vectors", where=folder / "labels.txt", got=classes)
    content = {ASSETS / "model.tflite": _read(folder / "model.tflite"), ASSETS / "labels.txt": labels}
    content[ASSETS / "golden.bin"] = golden_bytes(inputs, outputs)
    content |= _project(app_name(recipe.model), inputs.shape, classes)
    _replace(folder / FOLDER, content)
    if (folder / "manifest.json").is_file():
        _record(folder)
    return folder / FOLDER


def android_files(folder: Path) -> list[str]:
    """The bundle's files as a manifest names them, sorted; none where there is no bundle."""
    return sorted(str(path.relative_to(folder)) for path in (folder / FOLDER).rglob("*") if path.is_file())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError("cannot be read", where=path, got=error.strerror) from error


def _read_golden(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Inputs [S, H, W, 3] and outputs [S, classes], both uint8."""
    inputs, outputs = load_golden(path)
    for array, rank in ((inputs, 4), (outputs, 2)):
        if array.dtype != np.uint8 or array.ndim != rank or not array.size or len(array) != len(inputs):
            got = f"{array.dtype} {list(array.shape)}"
            raise FormatError("golden vectors of another kind of model", where=path, got=got, wanted="uint8 images")
    if inputs.shape[3] != 3:
        raise RecipeError("the Android app takes colour", where=path, got=f"{inputs.shape[3]} channels", wanted=3)
    return inputs, outputs


@cache
def _templates() -> Environment:
    # No autoescape, for few of the files are markup: every value is a number or was made safe by edgeq.android.names.
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def _project(name: str, inputs: tuple[int, ...], classes: int) -> dict[Path, bytes]:
    """Every template, filled in."""
    samples, height, width, _ = inputs
    values: dict[str, Any] = {
        "app_name": resource_text(name),
        "module": module_name(name),
        "package": package_name(name),
        "litert": LITERT_VERSION,
        "camerax": CAMERAX_VERSION,
        "samples": samples,
        "height": height,
        "width": width,
        "classes": classes,
    }
    environment = _templates()
    return {
        Path(template.removesuffix(SUFFIX)): environment.get_template(template).render(values).encode()
        for template in environment.list_templates(extensions=[SUFFIX[1:]])
    }


def _replace(folder: Path, content: dict[Path, bytes]) -> None:
    """Write a folder beside the old one and put it in its place."""
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    for path in (part, old):
        shutil.rmtree(path, ignore_errors=True)
    for name, data in content.items():
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_bytes(data)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _record(folder: Path) -> None:
    """The bundle's files in the manifest, in place of those of an earlier bundle."""
    manifest = read_manifest(folder / "manifest.json")
    kept = [entry for entry in manifest["artifacts"] if not entry["path"].startswith(f"{FOLDER}/")]
    manifest["artifacts"] = kept + artifact_entries(folder, android_files(folder))
    write_manifest(folder / "manifest.json", manifest)
