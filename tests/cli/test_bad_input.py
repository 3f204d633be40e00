"""Bad input gets one clear line and exit 1, and nothing half-written is left."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Build, Ended
from safetensors.numpy import load_file
from small_nets import write_images

Run = Callable[..., Ended]


@pytest.fixture
def build(built: Build, tmp_path: Path, edgeq: Run) -> Callable[..., Ended]:
    """``edgeq build`` with some arguments; checks that nothing is left."""

    def run(*arguments: object) -> Ended:
        (tmp_path / "made").mkdir()
        ended = edgeq("build", *built.arguments, *arguments, "--out", tmp_path / "made" / "out")
        assert ended.code == 1, ended
        assert list((tmp_path / "made").iterdir()) == []
        assert ended.out == ""
        return ended

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bits", 1], "a sine grid has no 1-bit form (got 1, wanted 2 or more); use --regularizer cosine for 1 bit"),
        (["--bits", 8, "--regularizer", "cosine"], "wanted at most 7 with cosine"),
        (["--bits", 9], "wanted at most 8 with sine"),
        (["--amplitude", "nan"], "regularizer.amplitude"),
        (["--learning-rate", "inf"], "train.learning_rate"),
        (["--target", "cortex-75"], "did you mean cortex-a75?"),
        (["--calibration", "minmix"], "did you mean minmax?"),
        (["--model", "resnet21"], "did you mean resnet"),
        (["--data", "/no/such/place"], "/no/such/place"),
        (["--recipe", "/no/such/recipe.toml"], "/no/such/recipe.toml: cannot be read"),
        (["--resume"], "no checkpoint to go on from"),
    ],
)
def test_an_option_that_cannot_be(build: Run, arguments: list[object], told: str) -> None:
    assert told in build(*arguments).error


def test_an_unknown_recipe_key_names_the_nearest(build: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[train]\nlearning-rate = 0.1\n")
    error = build("--recipe", tmp_path / "r.toml").error
    assert "r.toml" in error
    assert "unknown key train.learning-rate; did you mean train.learning_rate?" in error


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("broken", "layer depthwise: the weight has values that are NaN or infinite (got 2 of 54"),
        ("arccosines", "node acos: the operation Acos has no int8 form"),
        ("unused", "layer spare: the layer's weight is not in the ONNX export"),
        ("normed", "layer fc1: the weight is computed from other parameters"),
        ("empty", "no Conv2d or Linear layer"),
        ("missing", "missing is not there"),
    ],
)
def test_a_network_that_cannot_be_converted_is_told_before_training(
    build: Run, built: Build, factory: str, told: str
) -> None:
    ended = build("--model", f"{built.nets}:{factory}")
    assert told in ended.error
    assert "Training" not in ended.err


def without(folder: str, name: str) -> None:
    for path in Path(folder, name).iterdir():
        path.unlink()


def test_a_class_folder_without_images(build: Run, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    without(images, "train/below")
    ended = build("--data", images)
    assert "a class folder has no readable image" in ended.error
    assert "train/below" in ended.error


def test_an_unreadable_image_is_skipped_only_if_asked(build: Run, built: Build, tmp_path: Path, edgeq: Run) -> None:
    images = write_images(tmp_path / "images")
    Path(images, "train", "below", "003.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    assert "003.png" in build("--data", images).error
    ended = edgeq(
        *("build", *built.arguments, "--data", images, "--unreadable", "skip", "--epochs", 1),
        *("--out", tmp_path / "out", "--quiet"),
    )
    assert ended.code == 0, ended.err
    assert ended.err == "warning: 1 unreadable images were left out\n", "--quiet leaves warnings and the result"
    for word in ("PyTorch, float", "snapped", "ONNX", "TFLite", "trained integers", "parity", "model.tflite"):
        assert word in ended.out


def archive_of(images: str, path: Path) -> bytes:
    with tarfile.open(path, "w:xz") as archive:
        archive.add(images, "images")
    return path.read_bytes()


def test_a_truncated_archive(build: Run, built: Build, tmp_path: Path) -> None:
    path = tmp_path / "images.tar.xz"
    content = archive_of(built.images, path)
    path.write_bytes(content[: len(content) // 2])
    assert "images.tar.xz" in build("--data", path).error


def test_a_hostile_archive(build: Run, tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil/train/a/x.png", b"x")
    assert "images.zip" in build("--data", path).error
    assert not (tmp_path.parent / "evil").exists()


def test_a_hostile_pickle(build: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "evil") + b"'\ntR.")
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "data_batch_1" in build("--data", folder).error
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"inputs": np.zeros((0, 3, 12, 12), np.float32)}, "there are no samples"),
        ({"inputs": np.zeros((4, 12, 12, 3), np.float32)}, "of the wrong shape (got [4, 12, 12, 3], wanted [samples"),
        ({"inputs": np.full((4, 3, 12, 12), np.nan, np.float32)}, "NaN, infinite"),
        ({"inputs": np.zeros((4, 3, 12, 12), np.int64)}, "of the wrong type"),
        ({"other": np.zeros((4, 3, 12, 12), np.float32), "more": np.zeros(3)}, "an input's array is missing"),
        (None, "calibration"),
    ],
)
def test_a_calibration_set_that_does_not_fit(
    built: Build, tmp_path: Path, edgeq: Run, arrays: dict[str, np.ndarray] | None, told: str
) -> None:
    path = tmp_path / "calibration.npz"
    if arrays is None:
        path.write_bytes(b"PK\3\4 half")
    else:
        np.savez(path, **arrays)  # type: ignore[arg-type]
    (tmp_path / "made").mkdir()
    ended = edgeq(
        *("export", "--model", f"{built.nets}:small", "--input-shape", "3,12,12", "--calibration-data", path),
        *("--out", tmp_path / "made" / "out"),
    )
    assert ended.code == 1
    assert told in ended.error
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--input-shape", "3,12"], "cannot export"),
        (["--checkpoint", "images/nothing.safetensors"], "cannot be read"),
        (["--grid", "nothing.safetensors"], "cannot be read"),
        (["--calibration", "minmix"], "did you mean minmax?"),
        (["--calibration-data", "nothing"], "nothing"),
        (["--bits", "1"], "no 1-bit form"),
        (["--model", "FILE:broken"], "layer depthwise"),
        (["--model", "FILE:arccosines"], "Acos"),
    ],
)
def test_an_export_that_cannot_be(built: Build, tmp_path: Path, edgeq: Run, arguments: list[str], told: str) -> None:
    (tmp_path / "made").mkdir()
    given = [argument.replace("FILE", built.nets) for argument in arguments]
    usual = ["--model", f"{built.nets}:small", "--input-shape", "3,12,12", "--calibration-data", built.images]
    if given[0] == "--input-shape":
        usual[2:4] = []
    ended = edgeq("export", *usual, *given, "--out", tmp_path / "made" / "out")
    assert ended.code == 1
    assert told in ended.error
    assert list((tmp_path / "made").iterdir()) == []


def test_an_export_does_not_take_the_place_of_a_training(built: Build, tmp_path: Path, edgeq: Run) -> None:
    shutil.copytree(built.out, tmp_path / "out")
    ended = edgeq(
        *("export", "--model", f"{built.nets}:small", "--input-shape", "3,12,12", "--calibration-data", built.images),
        *("--out", tmp_path / "out"),
    )
    assert ended.code == 1
    assert "the output folder holds a training" in ended.error
    assert (tmp_path / "out" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("command", ["inspect", "convert", "quantize"])
@pytest.mark.parametrize("content", [None, b"", b"\x1c\0\0\0TFL3" + b"\xff" * 40, b"\x08\x09", b"PK\3\4"])
def test_a_file_that_is_no_model(tmp_path: Path, edgeq: Run, command: str, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    more: dict[str, list[object]] = {
        "inspect": [],
        "convert": [tmp_path / "out.tflite"],
        "quantize": ["--calibration-data", "x", "--out", "y"],
    }
    ended = edgeq(command, path, *more[command])
    assert ended.code == 1
    assert "model.onnx" in ended.error
    assert [item.name for item in tmp_path.iterdir()] == ([] if content is None else ["model.onnx"])


def test_convert_refuses_a_float_model_and_writes_nothing(built: Build, tmp_path: Path, edgeq: Run) -> None:
    import onnx
    from onnx import helper

    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    ended = edgeq("convert", tmp_path / "m.onnx", tmp_path / "m.tflite")
    assert ended.code == 1
    assert "quantize" in ended.error
    assert [item.name for item in tmp_path.iterdir()] == ["m.onnx"]


def changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "grid.safetensors", "labels.txt", "golden.npz"])
def test_verify_names_the_file_that_was_edited(built: Build, tmp_path: Path, edgeq: Run, name: str) -> None:
    shutil.copytree(built.out, tmp_path / "out")
    changed_byte(tmp_path / "out" / name)
    ended = edgeq("verify", tmp_path / "out")
    assert ended.code == 1
    assert f"{name}: the file is not the one that was built" in ended.error


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_verify_names_the_layer_of_a_weight_that_was_changed(
    built: Build, tmp_path: Path, edgeq: Run, name: str
) -> None:
    """Also where the manifest was made to fit."""
    shutil.copytree(built.out, tmp_path / "out")
    path = tmp_path / "out" / name
    content = path.read_bytes()
    codes = load_file(built.out / "grid.safetensors")["fc2.codes"].tobytes()
    assert content.count(codes) == 1
    changed = content.replace(codes, codes[:-1] + bytes([codes[-1] ^ 1]))
    path.write_bytes(changed)
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    old, new = (hashlib.sha256(data).hexdigest() for data in (content, changed))
    (tmp_path / "out" / "manifest.json").write_text(manifest.replace(old, new))
    ended = edgeq("verify", tmp_path / "out")
    assert ended.code == 1
    assert "layer fc2: the integers of the ONNX and the TFLite file differ (got 1 of 14)" in ended.error


@pytest.mark.parametrize(
    "manifest", [None, "", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "artifacts": 3}']
)
def test_verify_refuses_what_is_no_build(tmp_path: Path, edgeq: Run, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    ended = edgeq("verify", tmp_path)
    assert ended.code == 1
    assert str(tmp_path) in ended.error


def test_verify_wants_the_data_of_the_build(built: Build, tmp_path: Path, edgeq: Run) -> None:
    images = write_images(tmp_path / "images", test=3)
    ended = edgeq("verify", built.out, "--data", images)
    assert ended.code == 1
    assert "the data are not those of the build" in ended.error


def test_a_file_in_the_way_of_out(built: Build, tmp_path: Path, edgeq: Run) -> None:
    (tmp_path / "out").write_bytes(io.BytesIO(b"mine").read())
    ended = edgeq("build", *built.arguments, "--out", tmp_path / "out")
    assert ended.code == 1
    assert "is a file" in ended.error
    ended = edgeq("build", *built.arguments, "--out", tmp_path / "out" / "deeper")
    assert ended.code == 1
    assert (tmp_path / "out").read_bytes() == b"mine"
