"""What a file says of its tensors is held against what is there, in the file and beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from int8_models import float_proto, run_onnxruntime, weights
from onnx import helper, numpy_helper

from edgeq.errors import EdgeqError, ExportError, FormatError
from edgeq.onnx_file import load_onnx
from edgeq.posttraining import convert_file

INPUTS = {"x": (1, 3, 5, 7)}
LARGE = (40, 3, 12, 12)  # more bytes than are read at once


def conv(*shape: int) -> onnx.ModelProto:
    inputs = {"x": (1, 3, 20, 16)} if shape == LARGE else INPUTS
    return float_proto("y = Conv (x, w)", {"w": weights(*shape)}, inputs)


def external(proto: onnx.ModelProto, folder: Path, **entries: object) -> Path:
    """The weight in w.bin, behind 16 bytes of something else; entries of the reference are replaced, or left out."""
    tensor = proto.graph.initializer[0]
    content = tensor.raw_data
    (folder / "w.bin").write_bytes(b"\xff" * 16 + content)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": 16, "length": len(content)} | entries).items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    return folder / "net.onnx"


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), LARGE])
@pytest.mark.parametrize("entries", [{}, {"length": None}])
def test_external_data_are_read(shape: tuple[int, ...], entries: dict[str, object], tmp_path: Path) -> None:
    whole = conv(*shape)
    size = (2, *[item.dim_value for item in whole.graph.input[0].type.tensor_type.shape.dim][1:])
    samples = {"x": weights(*size)}
    wanted = run_onnxruntime(whole, samples)[0]
    model = load_onnx(external(conv(*shape), tmp_path, **entries))
    assert [value.name for value in model.graph.inputs] == ["x"]
    np.testing.assert_array_equal(run_onnxruntime(model, samples)[0], wanted)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/hostname"}, "outside of the model's folder"),
        ({"location": "../w.bin"}, "outside of the model's folder"),
        ({"location": "a/../../w.bin"}, "outside of the model's folder"),
        ({"location": "..\\w.bin"}, "outside of the model's folder"),
        ({"location": "C:\\w.bin"}, "outside of the model's folder"),
        ({"location": ""}, "outside of the model's folder"),
        ({"location": "none.bin"}, "missing.*keep the file beside"),
        ({"location": "."}, "missing"),
        ({"offset": 17}, "not as long.*bytes 17 to 209 of a file of 208"),
        ({"offset": 10**17}, "not as long"),
        ({"offset": -1}, "no number"),
        ({"length": 100}, "not as long.*wanted 192 bytes"),
        ({"length": "many"}, "no number"),
        ({"length": "9" * 5000}, "no number"),
    ],
)
def test_external_data_that_cannot_be_used(entries: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    path = external(conv(4, 3, 2, 2), tmp_path / "inner", **entries)
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    with pytest.raises(FormatError, match=f"tensor w: .*{message}") as caught:
        load_onnx(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_symbolic_link_is_not_followed(place: str, tmp_path: Path) -> None:
    path = external(conv(4, 3, 2, 2), tmp_path, location="data/w.bin")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes())
    if place == "folder":
        (tmp_path / "data").symlink_to("other")
    else:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(FormatError, match="symbolic link"):
        load_onnx(path)


def test_data_of_an_attribute_in_another_file_are_refused(tmp_path: Path) -> None:
    proto = conv(4, 3, 2, 2)
    external(proto, tmp_path)
    tensor = onnx.TensorProto.FromString(proto.graph.initializer.pop().SerializeToString())
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match=r"an attribute keeps its data in another file .got w"):
        load_onnx(tmp_path / "net.onnx")


def test_more_weights_than_a_tflite_file_holds_are_refused_before_they_are_read(tmp_path: Path) -> None:
    proto = conv(4, 3, 2, 2)
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(helper.make_tensor("w", onnx.TensorProto.INT8, [4, 3, 2, 2], bytes(48), raw=True))
    path = external(proto, tmp_path, length=None, offset=0)
    proto.graph.initializer[0].dims[:] = [1 << 12, 3, 1 << 9, 1 << 9]
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(3 << 30)  # sparse: it takes no room
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ExportError, match=r"do not fit a .tflite file .got 3221225472 of them"):
        load_onnx(path)


def set_dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = dims

    return edit


def set_type(kind: int) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].data_type = kind

    return edit


def sparse(proto: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    proto.graph.initializer.pop()
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3, 2, 2]))


def shorter(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    values = numpy_helper.to_array(tensor).ravel()[:-1]
    tensor.ClearField("raw_data")
    tensor.float_data.extend(values.tolist())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_dims(1 << 40, 1 << 40), "tensor w is not as long as its shape says .got 192 bytes for"),
        (set_dims(4, 3, 2, 3), "got 192 bytes for .4, 3, 2, 3., wanted 288 bytes"),
        (set_dims(-4, -3, 2, 2), "negative size"),
        (set_dims(), "got 192 bytes"),
        (set_type(0), "no valid ONNX|type|not as long"),
        (set_type(4711), "no type that is read"),
        (shorter, "got 47 values for .4, 3, 2, 2., wanted 48"),
        (sparse, "sparse initializer is not read .got w"),
    ],
)
def test_a_tensor_that_is_not_what_it_says(edit: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    proto = conv(4, 3, 2, 2)
    edit(proto)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match=message):
        load_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("size", [1 << 40, 1 << 62])
def test_an_activation_no_device_could_hold(size: int, tmp_path: Path) -> None:
    proto = conv(4, 3, 2, 2)
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = size
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match="the value x has a size that cannot be"):
        load_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    "body",
    [
        "e = Expand (k, s)\n y = Add (x, e)",
        "t = Mul (s, s)\n e = Expand (k, t)\n y = Add (x, e)",
        "e = ConstantOfShape (s)\n y = Add (x, e)",
        "e = Tile (k, s)\n y = Add (x, e)",
    ],
)
def test_a_few_bytes_that_ask_for_terabytes(body: str, tmp_path: Path) -> None:
    text = f'<ir_version: 9, opset_import: ["" : 20]> main (float[1, 3, 5, 7] x) => (float y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 15, 1 << 10], np.int64), "s"))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1, 1), np.float32), "k"))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    before = os.times().user
    with pytest.raises(EdgeqError):
        convert_file(tmp_path / "net.onnx", tmp_path / "model.tflite")
    assert os.times().user - before < 5
