"""The app's Kotlin, compiled: what needs no Android is run against real outputs, the rest is checked by type."""

from __future__ import annotations

import itertools
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from android_api import write_android_api, write_class
from conftest import Build
from kotlin_compiler import compile_kotlin, needs_kotlin, run_java
from numpy.typing import NDArray

from edgeq.android import write_android
from edgeq.verify.litert import run

pytestmark = [needs_kotlin, pytest.mark.slow]

# Calls the app's functions with files for arguments. `golden`: the self-test, on scores that were computed elsewhere,
# for the inputs it writes. `pixels`: a frame. `top`: scores with labels.
HARNESS = """
package PACKAGE

import java.io.File

fun main(arguments: Array<String>) {
    val files = arguments.drop(1).filter { "/" in it }.map(::File)
    val numbers = arguments.drop(1).filter { "/" !in it }.map(String::toInt)
    when (arguments[0]) {
        "golden" -> {
            val golden = files[0].inputStream().use { GoldenFile.read(it) }
            val scores = files[1].readBytes()
            var next = 0
            files[2].delete()
            println(selfTest(golden) { pixels ->
                files[2].appendBytes(pixels)
                scores.copyOfRange(next, next + golden.classes).also { next += golden.classes }
            })
        }
        "pixels" -> {
            val (width, height, stride, rotation) = numbers
            files[1].writeBytes(
                rgbPixels(files[0].readBytes(), width, height, stride, rotation, numbers[4], numbers[5])
            )
        }
        "refused" -> println(runCatching { GoldenFile.read(files[0].inputStream()) }.exceptionOrNull())
        else -> {
            val labels = parseLabels(files[1].readText())
            print(topScores(files[0].readBytes(), labels, numbers[0]).joinToString("") { "${it.score} ${it.label}\\n" })
        }
    }
}
"""


class App:
    """A build's app, compiled together with the harness."""

    def __init__(self, built: Path, folder: Path) -> None:
        for name in ("recipe.toml", "model.tflite", "labels.txt", "golden.npz"):
            (folder / name).write_bytes((built / name).read_bytes())
        self.folder = folder
        self.assets = write_android(folder) / "app/src/main/assets"
        self.classes = folder / "classes"
        with np.load(folder / "golden.npz") as arrays:
            self.inputs, self.outputs = arrays["inputs"], arrays["outputs"]
        (match,) = re.findall(r'namespace = "(.*)"', (folder / "android/app/build.gradle.kts").read_text())
        self.package = match
        api = folder / "api"
        write_android_api(api)
        strings = (folder / "android/app/src/main/res/values/strings.xml").read_text()
        names = re.findall(r'<string name="(\w+)"', strings)
        fields = "".join(f"public static final int {name} = 0; " for name in names)
        write_class(api, self.package, "R", f"public class R {{ public static class string {{ {fields}}} }}")
        (folder / "Harness.kt").write_text(HARNESS.replace("PACKAGE", self.package))
        kotlin = [folder / "Harness.kt", *(folder / "android").rglob("*.kt")]
        compile_kotlin([*kotlin, *api.rglob("*.java")], self.classes)

    def call(self, *arguments: object) -> str:
        return run_java(self.classes, f"{self.package}.HarnessKt", *arguments)

    def self_test(self, outputs: NDArray[np.uint8]) -> str:
        (self.folder / "scores.bin").write_bytes(outputs.tobytes())
        return self.call("golden", self.assets / "golden.bin", self.folder / "scores.bin", self.folder / "inputs.bin")


@pytest.fixture(scope="module")
def app(built: Build, tmp_path_factory: pytest.TempPathFactory) -> App:
    """Compiling it is a test: the compiler takes all of the app, without a warning."""
    return App(built.out, tmp_path_factory.mktemp("app"))


def test_the_self_test_passes_on_what_litert_gives(app: App) -> None:
    """The shipped model on the inputs that Kotlin read, compared by Kotlin."""
    content = (app.assets / "model.tflite").read_bytes()
    (outputs,) = run(content, [app.inputs])
    assert app.self_test(outputs) == "self-test passed: 16 of 16 outputs equal, byte for byte\n"
    assert (app.folder / "inputs.bin").read_bytes() == app.inputs.tobytes()


def test_the_self_test_counts_what_differs(app: App) -> None:
    wrong = app.outputs.copy()
    wrong[3, 0] ^= 1
    wrong[7] = 255 - wrong[7]
    apart = np.abs(wrong.astype(int) - app.outputs.astype(int))
    same = int((wrong.argmax(1) == app.outputs.argmax(1)).sum())
    assert app.self_test(wrong) == (
        f"self-test FAILED: 14 of 16 outputs equal, {(apart > 0).sum()} of {apart.size} bytes differ, "
        f"by {apart.max()} at most; {same} of 16 have the same class\n"
    )


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: content[:20], "golden.bin has only 20 bytes"),
        (lambda content: b"PK" + content[2:], "does not start with EQGV"),
        (lambda content: content[:4] + b"\2" + content[5:], "is of version 2, not 1"),
        (lambda content: content[:8] + bytes(4) + content[12:], "has sizes of [0, "),
        (lambda content: content[:-1], "bytes, not "),
        (lambda content: content + b"\0", "bytes, not "),
        (lambda content: content[:8] + b"\xff\xff\xff\x7f" * 5 + content[28:], "bytes, not -1"),
    ],
)
def test_a_damaged_file_is_refused(app: App, tmp_path: Path, damage: object, told: str) -> None:
    assert callable(damage)
    (tmp_path / "golden.bin").write_bytes(damage((app.assets / "golden.bin").read_bytes()))
    answer = app.call("refused", tmp_path / "golden.bin")
    assert answer.startswith("java.lang.IllegalArgumentException: golden.bin"), answer
    assert told in answer


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("width", "height", "out"), [(40, 24, (8, 8)), (24, 40, (6, 12)), (9, 7, (7, 5)), (2, 3, (4, 6))]
)
def test_a_frame_is_turned_cropped_and_scaled(
    app: App, tmp_path: Path, rotation: int, width: int, height: int, out: tuple[int, int]
) -> None:
    """Against numpy: rot90, a centred crop, and the mean of each block, with a padded row."""
    padding = 3
    frame = np.random.default_rng(rotation).integers(0, 256, (height, width + padding, 4), dtype=np.uint8)
    content = frame.tobytes()[: -4 * padding]  # the last row has no padding, as on real devices
    (tmp_path / "frame").write_bytes(content)
    sizes = (width, height, 4 * (width + padding), rotation, *out)
    app.call("pixels", tmp_path / "frame", tmp_path / "pixels", *sizes)
    found = np.frombuffer((tmp_path / "pixels").read_bytes(), np.uint8).reshape(out[1], out[0], 3)
    upright = np.rot90(frame[:, :width, :3], -rotation // 90)
    np.testing.assert_array_equal(found, block_means(upright, out))


def block_means(image: NDArray[np.uint8], out: tuple[int, int]) -> NDArray[np.uint8]:
    scale = min(Fraction(image.shape[1], out[0]), Fraction(image.shape[0], out[1]))
    slices = []
    for size, count in ((image.shape[0], out[1]), (image.shape[1], out[0])):
        crop = math.floor(count * scale)
        edges = [(size - crop) // 2 + math.floor(Fraction(i * crop, count)) for i in range(count + 1)]
        slices.append([slice(first, max(end, first + 1)) for first, end in itertools.pairwise(edges)])
    result = np.empty((out[1], out[0], 3), np.uint8)
    for y, x in np.ndindex(out[1], out[0]):
        block = image[slices[0][y], slices[1][x]].reshape(-1, 3).astype(int)
        result[y, x] = (block.sum(0) + len(block) // 2) // len(block)
    return result


def test_the_largest_scores_come_first(app: App, tmp_path: Path) -> None:
    """Bytes from 128 on are not negative, equal scores keep the classes' order, and only LF ends a label."""
    labels = ["a $b", "\u2028 c\x85", "ü 🚗", "last"]
    (tmp_path / "labels").write_text("".join(f"{label}\n" for label in labels), newline="")
    (tmp_path / "scores").write_bytes(bytes([7, 240, 8, 240]))
    answer = app.call("top", tmp_path / "scores", tmp_path / "labels", 3)
    assert answer == f"0.9375 {labels[1]}\n0.9375 {labels[3]}\n0.03125 {labels[2]}\n"
