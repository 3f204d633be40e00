"""The bundle as files: complete, well formed, decoded back, and not broken by what strangers call their models."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Build, Ended
from numpy.typing import NDArray

from edgeq.android import android_files, write_android
from edgeq.android.names import app_name, module_name, package_name, resource_text
from edgeq.errors import FormatError, RecipeError
from edgeq.manifest import artifact_entries

INPUTS = ("recipe.toml", "model.tflite", "labels.txt", "golden.npz")
ANDROID = "{http://schemas.android.com/apk/res/android}"
HOSTILE = [
    "resnet20",
    "FILE.py:größe",
    'm:a"); System.exit(1) //',
    "m:${System.exit(1)}",
    "m:</string><string name='app_name'>",
    "m:]]>&amp;<!--",
    "m:@string/other",
    "m:?attr/x",
    "m:%1$s %s %d",
    "m:..%2f../..\\x\0y\x1b[31m",
    "m:\u202edcba\u2066",
    "m:'quoted' \\u0041\\n\n\t",
    "m:class",
    "m:Native",
    "m:42",
    "m:{{ 7 * 7 }}{% raw %}",
    "m:モデル🚗",
    "m:",
    "m:" + "a" * 300,
]


@pytest.fixture
def folder(built: Build, tmp_path: Path) -> Path:
    """What the bundle is made of, and a manifest that knows nothing of it."""
    folder = tmp_path / "build"
    folder.mkdir()
    for name in INPUTS:
        shutil.copy(built.out / name, folder)
    manifest = {"schema": 1, "edgeq": "0", "artifacts": [{"path": "labels.txt"}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def rename(folder: Path, model: str) -> None:
    """Call a build's network something else, as a recipe from elsewhere may."""
    text = "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in model)
    path = folder / "recipe.toml"
    path.write_text(re.sub("(?m)^model = .*", lambda _: f'model = "{text}"', path.read_text()))


def read_golden_bin(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The layout by its description, without the writer."""
    assert content[:4] == b"EQGV"
    version, samples, height, width, channels, classes = struct.unpack("<6I", content[4:28])
    assert version == 1
    values = np.frombuffer(content, np.uint8, offset=28)
    split = samples * height * width * channels
    assert len(values) == split + samples * classes
    return values[:split].reshape(samples, height, width, channels), values[split:].reshape(samples, classes)


def test_the_bundle_is_complete(folder: Path) -> None:
    android = write_android(folder)
    assert android == folder / "android"
    names = android_files(folder)
    assert all((folder / name).is_file() for name in names)
    main = "android/app/src/main"
    kotlin = ("Classifier", "GoldenFile", "MainActivity", "Model", "Pixels", "Scores", "SelfTest")
    assert set(names) == {
        "android/README.md",
        "android/build.gradle.kts",
        "android/gradle.properties",
        "android/gradle/wrapper/gradle-wrapper.properties",
        "android/settings.gradle.kts",
        "android/app/build.gradle.kts",
        "android/app/src/androidTest/kotlin/GoldenTest.kt",
        f"{main}/AndroidManifest.xml",
        f"{main}/res/values/strings.xml",
        *(f"{main}/kotlin/{name}.kt" for name in kotlin),
        *(f"{main}/assets/{name}" for name in ("golden.bin", "labels.txt", "model.tflite")),
    }
    for name in ("model.tflite", "labels.txt"):
        assert (folder / main / "assets" / name).read_bytes() == (folder / name).read_bytes()
    assert not list(folder.glob(".*")), "nothing is left of the writing"


def test_the_golden_file_decodes_to_the_golden_vectors(folder: Path) -> None:
    inputs, outputs = read_golden_bin((write_android(folder) / "app/src/main/assets/golden.bin").read_bytes())
    with np.load(folder / "golden.npz") as arrays:
        np.testing.assert_array_equal(inputs, arrays["inputs"])
        np.testing.assert_array_equal(outputs, arrays["outputs"])


def test_the_models_sizes_are_in_kotlin(folder: Path) -> None:
    text = (write_android(folder) / "app/src/main/kotlin/Model.kt").read_text()
    constants = dict(re.findall(r"const val (\w+) = (\d+)", text))
    with np.load(folder / "golden.npz") as arrays:
        _, height, width, _ = arrays["inputs"].shape
        assert constants == {"HEIGHT": str(height), "WIDTH": str(width), "CLASSES": str(arrays["outputs"].shape[1])}


def test_every_value_is_filled_in(folder: Path) -> None:
    write_android(folder)
    for name in android_files(folder):
        if not name.startswith("android/app/src/main/assets"):
            assert "{{" not in (folder / name).read_text(), name
            assert not name.endswith(".jinja")


def test_equal_builds_give_equal_bytes(folder: Path) -> None:
    write_android(folder)
    first = {name: (folder / name).read_bytes() for name in android_files(folder)}
    (folder / "android" / "stale.txt").touch()
    write_android(folder)
    assert {name: (folder / name).read_bytes() for name in android_files(folder)} == first


def test_the_manifest_names_the_files_once(folder: Path) -> None:
    for _ in range(2):
        write_android(folder)
        entries = json.loads((folder / "manifest.json").read_text())["artifacts"]
        assert entries == [{"path": "labels.txt"}, *artifact_entries(folder, android_files(folder))]
        assert len(entries) > 1


# --- names ------------------------------------------------------------------------------------------------------------


def resource_value(text: str) -> str:
    """What aapt makes of a <string>: it undoes backslashes."""
    return re.sub(r"\\u(....)", lambda match: chr(int(match[1], 16)), text)


@pytest.mark.parametrize("model", HOSTILE)
def test_a_name_stays_a_name(folder: Path, model: str) -> None:
    rename(folder, model)
    android = write_android(folder)
    (shown,) = ElementTree.parse(android / "app/src/main/res/values/strings.xml").findall("string[@name='app_name']")
    assert len(shown) == 0
    assert shown.text == resource_text(app_name(model))
    packages = {path.read_text().splitlines()[0] for path in android.rglob("*.kt")}
    assert packages == {f"package {package_name(app_name(model))}"}
    assert f'applicationId = "{package_name(app_name(model))}"\n' in (android / "app/build.gradle.kts").read_text()
    assert f'rootProject.name = "{module_name(app_name(model))}"\n' in (android / "settings.gradle.kts").read_text()


@pytest.mark.parametrize("model", [*HOSTILE, "m:\ud800"])
def test_a_part_of_a_package_is_an_identifier(model: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,50}", module_name(app_name(model)))
    assert module_name(app_name(model)) not in {"class", "fun", "val", "native", "default", "true"}


@pytest.mark.parametrize("model", [*HOSTILE, "m:\ud800"])
def test_a_string_resource_shows_the_name_and_has_no_syntax(model: str) -> None:
    name = app_name(model)
    text = resource_text(name)
    assert not set("<>&'\"@?%$\n\0") & set(text)
    text.encode()
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    assert resource_value(text) == printable


@pytest.mark.parametrize(
    ("model", "name", "module"),
    [
        ("resnet20", "resnet20", "resnet20"),
        ("nets/mine.py:Größe", "Größe", "grosse"),
        ("package.nets:tiny_v2", "tiny_v2", "tiny_v2"),
        ("m:class", "class", "model_class"),
        ("m:モデル", "モデル", "model"),
        ("m:_3d", "_3d", "model_3d"),
    ],
)
def test_readable_names_are_kept(model: str, name: str, module: str) -> None:
    assert app_name(model) == name
    assert module_name(name) == module


def test_labels_reach_the_app_as_data_alone(folder: Path) -> None:
    """Class names stand in labels.txt and nowhere else."""
    labels = ['above"); System.exit(1) //${x}</string>', "\u202ebelow 🚗"]
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    android = write_android(folder)
    holders = [path.name for path in android.rglob("*") if path.is_file() and b"System.exit" in path.read_bytes()]
    assert holders == ["labels.txt"]


# --- syntax -----------------------------------------------------------------------------------------------------------


def test_xml_is_well_formed_and_names_what_is_there(folder: Path) -> None:
    android = write_android(folder)
    manifest = ElementTree.parse(android / "app/src/main/AndroidManifest.xml").getroot()
    (activity,) = manifest.iter("activity")
    name = activity.attrib[f"{ANDROID}name"].removeprefix(".")
    assert f"class {name} " in (android / f"app/src/main/kotlin/{name}.kt").read_text()
    resources = ElementTree.parse(android / "app/src/main/res/values/strings.xml").getroot()
    strings = {item.attrib["name"] for item in resources}
    used = set()
    for path in (*android.rglob("*.kt"), *android.rglob("AndroidManifest.xml")):
        used |= set(re.findall(r"(?:R\.string\.|@string/)(\w+)", path.read_text()))
    assert used == strings


def errors_in(node: Any) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {node.text[:60]!r}"
    for child in node.children:
        yield from errors_in(child)


@pytest.mark.parametrize("model", ["resnet20", *HOSTILE[2:4]])
def test_kotlin_and_gradle_parse(folder: Path, model: str) -> None:
    """All of it, build scripts included, where the compiler and Gradle are not at hand."""
    tree_sitter, kotlin = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_kotlin")
    parser = tree_sitter.Parser(tree_sitter.Language(kotlin.language()))
    rename(folder, model)
    paths = [path for path in write_android(folder).rglob("*.kt*") if path.is_file()]
    assert len(paths) == 11
    for path in paths:
        assert not list(errors_in(parser.parse(path.read_bytes()).root_node)), path.name


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_other_ends_are_refused_before_the_training(
    built: Build, tmp_path: Path, edgeq: Callable[..., Ended], io: str
) -> None:
    ended = edgeq("build", *built.arguments, "--android", "--io", io, "--out", tmp_path / "out")
    assert ended.code == 1
    assert ended.error == (
        f"--android: the Android app takes a camera's bytes and shows scores (got --io {io}, wanted --io uint8); "
        "leave one of the two out"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", INPUTS)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises((FormatError, RecipeError), match=re.escape(name)):
        write_android(folder)
    assert not (folder / "android").exists()


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"inputs": np.zeros((16, 12, 12, 3), np.int8), "outputs": np.zeros((16, 2), np.uint8)},
        {"inputs": np.zeros((16, 12, 12, 3), np.uint8), "outputs": np.zeros((15, 2), np.uint8)},
        {"inputs": np.zeros((16, 12, 12, 3), np.uint8), "outputs": np.zeros((16, 3), np.uint8)},
        {"inputs": np.zeros((16, 12, 12, 1), np.uint8), "outputs": np.zeros((16, 2), np.uint8)},
        {"inputs": np.zeros((0, 12, 12, 3), np.uint8), "outputs": np.zeros((0, 2), np.uint8)},
    ],
)
def test_golden_vectors_of_another_model_are_refused(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    np.savez(folder / "golden.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises((FormatError, RecipeError)):
        write_android(folder)
    assert not (folder / "android").exists()


# --- the command ------------------------------------------------------------------------------------------------------


def test_build_writes_the_bundle_with_the_rest(built: Build, tmp_path: Path, edgeq: Callable[..., Ended]) -> None:
    """In the folder that appears whole, in its manifest, and held to it by ``edgeq verify``."""
    out = tmp_path / "out"
    ended = edgeq("build", *built.arguments, "--android", "--out", out)
    assert ended.code == 0, ended.err
    assert f"android   {out}/android" in ended.out
    entries = json.loads((out / "manifest.json").read_text())["artifacts"]
    listed = [entry["path"] for entry in entries if entry["path"].startswith("android/")]
    assert listed == android_files(out)
    assert entries == artifact_entries(out, [entry["path"] for entry in entries])
    assert edgeq("verify", out).code == 0
    (out / "android/app/src/main/kotlin/Scores.kt").write_text("// changed\n")
    assert edgeq("verify", out).code == 1


def test_build_leaves_it_out_unless_asked(built: Build) -> None:
    assert not android_files(built.out)
