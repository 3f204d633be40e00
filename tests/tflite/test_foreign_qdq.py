"""QDQ models that onnxruntime's quantizer made: their integers and scales are carried over, and the meaning kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from int8_models import (
    Arrays,
    Constant,
    assert_layers_agree,
    file_inputs,
    float_proto,
    kinds,
    parity,
    random_samples,
    run_onnxruntime,
    to_values,
    weights,
)
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeq.errors import ExportError, FormatError
from edgeq.onnx_file import load_onnx
from edgeq.posttraining import convert_file
from edgeq.tflite.convert import Conversion
from edgeq.tflite.qdq_values import read_real_constant
from edgeq.tflite.read import read_file
from edgeq.verify.litert import run

INPUTS = {"x": (1, 3, 7, 9)}
BODY = """
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1)
    r1 = Relu (c1)
    c2 = Conv <group = 4> (r1, w2, b2)
    r2 = Clip (c2, low, high)
    p = MaxPool <kernel_shape = [2, 2], strides = [1, 1]> (r1)
    r3 = Relu (p)
    s = Slice (r3, starts, ends, axes)
    g = Concat <axis = 1> (r2, s)
    a = AveragePool <kernel_shape = [1, 3]> (g)
    m = Add (a, k)
    f = Flatten (m)
    d = Gemm <transB = 1> (f, w3, b3)
    y = Sigmoid (d)
"""
CONSTANTS: dict[str, Constant] = {
    "w1": weights(4, 3, 3, 3), "b1": weights(4), "w2": weights(4, 1, 2, 2), "b2": weights(4),
    "w3": weights(5, 48, scale=0.2), "b3": weights(5), "k": weights(8, 1, 1),
    "low": 0.0, "high": 6.0, "starts": [0, 0], "ends": [3, 4], "axes": [2, 3],
}  # fmt: skip


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Arrays) -> None:
        count = len(next(iter(samples.values())))
        self.rows = iter([{name: array[i : i + 1] for name, array in samples.items()} for i in range(count)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rows, None)


def quantize(folder: Path, proto: onnx.ModelProto, samples: Arrays, **options: Any) -> Path:
    onnx.save(proto, folder / "float.onnx")
    options.setdefault("weight_type", QuantType.QInt8)
    quantize_static(
        folder / "float.onnx", folder / "qdq.onnx", Reader(samples), quant_format=QuantFormat.QDQ, **options
    )
    return folder / "qdq.onnx"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_integers_scales_and_results_are_onnxruntimes(kind: QuantType, per_channel: bool, tmp_path: Path) -> None:
    samples = random_samples(INPUTS)
    path = quantize(tmp_path, float_proto(BODY, CONSTANTS, INPUTS), samples, activation_type=kind,
                    per_channel=per_channel)  # fmt: skip
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    assert_codes_and_scales_kept(path, conversion)
    content = (tmp_path / "model.tflite").read_bytes()
    assert_layers_agree(parity(content, load_onnx(path), conversion.layouts, samples))
    graph = conversion.graph
    found = to_values(run(content, file_inputs(graph, samples), workers=1)[0], graph, graph.outputs[0])
    wanted = run_onnxruntime(onnx.load(path), samples)[0]
    grid = graph.tensors[graph.outputs[0]].quantization
    assert grid is not None
    assert np.abs(found - wanted).max() <= 4.01 * grid.scale[0]  # a code a layer, passed on through four of them
    assert not set(kinds(graph)) & {"TRANSPOSE", "MAXIMUM", "MINIMUM"}


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize(
    ("body", "becomes"),
    [
        ("c = Conv (x, w)\n y = Clip (c, low, high)", "CONV_2D"),  # onnxruntime leaves the Clip to Q
        ("c = Conv (x, w)\n r = Relu (c)\n y = ConvTranspose <strides = [2, 2]> (r, v)", "CONV_2D TRANSPOSE_CONV"),
        ("c = Conv (x, w)\n y = ArgMax <axis = 1, keepdims = 0> (c)", "CONV_2D ARG_MAX"),
    ],
)
def test_what_onnxruntime_places_for_other_operations(body: str, becomes: str, kind: QuantType, tmp_path: Path) -> None:
    constants = {
        "w": weights(4, 3, 2, 2), "v": weights(4, 5, 2, 2), "low": np.array(-0.4, np.float32),
        "high": np.array(0.6, np.float32),
    }  # fmt: skip
    used = {name: value for name, value in constants.items() if name in body.replace(",", " ").replace(")", " ").split()
            or f"({name}" in body}  # fmt: skip
    samples = random_samples(INPUTS)
    outputs = ("int64 y",) if "ArgMax" in body else ("y",)
    path = quantize(tmp_path, float_proto(body, used, INPUTS, outputs), samples, activation_type=kind,
                    per_channel=True)  # fmt: skip
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    graph = conversion.graph
    assert " ".join(kinds(graph)) == becomes
    content = (tmp_path / "model.tflite").read_bytes()
    assert_layers_agree(parity(content, load_onnx(path), conversion.layouts, samples))
    found = run(content, file_inputs(graph, samples), workers=1)[0]
    wanted = run_onnxruntime(onnx.load(path), samples)[0]
    grid = graph.tensors[graph.outputs[0]].quantization
    if grid is None:
        assert np.mean(found != wanted) < 0.02  # two channels whose codes are the same in one runtime
    else:
        assert np.abs(to_values(found, graph, graph.outputs[0]) - wanted).max() <= 2.01 * grid.scale[0]


def assert_codes_and_scales_kept(path: Path, conversion: Conversion) -> None:
    """Every int8 weight and int32 bias of the ONNX file, byte for byte up to the layout, and its scales to the bit."""
    proto = onnx.load(path)
    stored = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    tensors = {tensor.name: tensor for tensor in conversion.graph.tensors}
    columns = np.arange(48).reshape(8, 3, 2).transpose(1, 2, 0).ravel()  # of the flattened image, in NHWC
    wanted = {
        "w1": stored["w1_quantized"].transpose(0, 2, 3, 1),
        "w2": stored["w2_quantized"].transpose(1, 2, 3, 0),
        "w3": (stored["w3_quantized"])[:, columns],
    }
    for name, codes in wanted.items():
        tensor = tensors[name]
        assert tensor.data is not None
        assert tensor.quantization is not None
        np.testing.assert_array_equal(tensor.data, codes)
        scale = np.broadcast_to(stored[f"{name}_scale"], tensor.quantization.scale.shape)
        np.testing.assert_array_equal(tensor.quantization.scale, scale)
        np.testing.assert_array_equal(tensors[f"{name}.bias"].data, stored[f"b{name[1]}_quantized"])


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    path = quantize(tmp_path, float_proto(BODY, CONSTANTS, INPUTS), random_samples(INPUTS))
    conversion, _ = convert_file(path, tmp_path / "new" / "model.tflite", io="uint8")
    graph = read_file(tmp_path / "new" / "model.tflite")
    assert kinds(graph) == kinds(conversion.graph)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.tflite"]
    assert graph.tensors[graph.inputs[0]].dtype == "uint8"


def test_a_foreign_grid_that_tflite_fixes_gets_a_quantize_and_a_note(tmp_path: Path) -> None:
    path = quantize(tmp_path, float_proto(BODY, CONSTANTS, INPUTS), random_samples(INPUTS))
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    assert "QUANTIZE" in kinds(conversion.graph)
    assert any("CONCATENATION needs one grid" in note for note in conversion.notes)
    assert len(conversion.notes) == kinds(conversion.graph).count("QUANTIZE")


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_symbolic_batch_is_one_image(opset: int, tmp_path: Path) -> None:
    body = "c = Conv (x, w)\n r = Relu (c)\n g = GlobalAveragePool (r)\n f = Flatten (g)\n y = MatMul (f, v)"
    proto = float_proto(body, {"w": weights(4, 3, 2, 2), "v": weights(4, 5)}, {"x": ("N", 3, 7, 9)}, opset=opset)
    path = quantize(tmp_path, proto, random_samples(INPUTS))
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    assert [conversion.graph.tensors[i].shape for i in conversion.graph.inputs] == [(1, 7, 9, 3)]
    assert [conversion.graph.tensors[i].shape for i in conversion.graph.outputs] == [(1, 5)]


def test_a_flatten_that_asks_for_the_batch_at_run_time(tmp_path: Path) -> None:
    """What torch's older exporter makes of x.view(x.size(0), -1)."""
    body = """
        c = Conv (x, v)
        s = Shape (c)
        n = Gather (s, zero)
        u = Unsqueeze (n, axis)
        t = Concat <axis = 0> (u, rest)
        f = Reshape (c, t)
        y = Gemm <transB = 1> (f, w)
    """
    constants: dict[str, Constant] = {"zero": np.array(0, np.int64), "axis": [0], "rest": [-1], "w": weights(5, 192)}
    constants["v"] = weights(4, 3, 2, 2)
    proto = float_proto(body, constants, {"x": ("N", 3, 7, 9)})
    path = quantize(tmp_path, proto, random_samples(INPUTS))
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    assert kinds(conversion.graph) == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_weights_with_a_zero_point_are_refused(tmp_path: Path) -> None:
    proto = float_proto("y = Conv (x, w)", {"w": weights(4, 3, 2, 2) + 1}, INPUTS)
    path = quantize(tmp_path, proto, random_samples(INPUTS), weight_type=QuantType.QUInt8,
                    activation_type=QuantType.QUInt8, extra_options={"WeightSymmetric": False})  # fmt: skip
    with pytest.raises(ExportError, match=r"node conv_0.*weight w .*zero point 0, codes less it 0 to 255"):
        convert_file(path, tmp_path / "model.tflite")
    path = quantize(tmp_path, proto, random_samples(INPUTS), extra_options={"WeightSymmetric": False})
    with pytest.raises(ExportError, match=r"node conv_0.*zero point"):
        convert_file(path, tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = Conv (x, w)", "no int8 grid"),
        ("e = Acos (x)\n y = Relu (e)", "int8"),
    ],
)
def test_a_float_model_is_told_apart(body: str, message: str, tmp_path: Path) -> None:
    onnx.save(float_proto(body, {"w": weights(4, 3, 2, 2)}, INPUTS), tmp_path / "float.onnx")
    with pytest.raises(ExportError, match=message):
        convert_file(tmp_path / "float.onnx", tmp_path / "model.tflite")


def edited(folder: Path, edit: Any) -> Path:
    path = quantize(folder, float_proto("c = Conv (x, w)\n y = Acos (c)" if edit is None else
                                        "c = Conv (x, w)\n y = Sigmoid (c)", {"w": weights(4, 3, 2, 2)}, INPUTS),
                    random_samples(INPUTS))  # fmt: skip
    proto = onnx.load(path)
    if edit is not None:
        edit(proto)
    onnx.save(proto, path)
    return path


def bypass(kind: str, reader: str) -> Any:
    """Let a node read what was before its pair of Q and DQ."""

    def edit(proto: onnx.ModelProto) -> None:
        producers = {name: node for node in proto.graph.node for name in node.output}
        for node in proto.graph.node:
            if node.op_type == reader:
                dequantize = producers[node.input[0]]
                node.input[0] = producers[dequantize.input[0]].input[0]
        read = {name for node in proto.graph.node for name in node.input} | {item.name for item in proto.graph.output}
        for _ in range(2):
            for node in list(proto.graph.node):
                if node.op_type.endswith("Linear") and not set(node.output) & read:
                    proto.graph.node.remove(node)
            read = {name for node in proto.graph.node for name in node.input} | {i.name for i in proto.graph.output}

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (None, "node acos_1 .*Acos.*no int8 form"),
        (bypass("Sigmoid", "Sigmoid"), "conv_0.*the value c has no int8 grid"),
        (bypass("Conv", "Conv"), "input x: the value x has no int8 grid"),
    ],
)
def test_what_is_missing_is_named(edit: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        convert_file(edited(tmp_path, edit), tmp_path / "model.tflite")


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_cannot_be_is_named(value: float, tmp_path: Path) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        for item in proto.graph.initializer:
            if item.name == "c_scale":
                item.CopyFrom(numpy_helper.from_array(np.array(value, np.float32), item.name))

    with pytest.raises((ExportError, FormatError), match="scale of c is not positive"):
        convert_file(edited(tmp_path, edit), tmp_path / "model.tflite")


def test_a_value_on_two_grids_is_refused(tmp_path: Path) -> None:
    def edit(proto: onnx.ModelProto) -> None:
        (quantize,) = [node for node in proto.graph.node if node.name == "c_QuantizeLinear"]
        other = onnx.NodeProto()
        other.CopyFrom(quantize)
        other.name, other.input[1], other.output[0] = "second", "x_scale", "second"
        proto.graph.node.insert(list(proto.graph.node).index(quantize), other)
        proto.graph.output.append(onnx.helper.make_tensor_value_info("second", onnx.TensorProto.INT8, [1, 4, 6, 8]))

    with pytest.raises(ExportError, match=r"node conv_0 \(Conv\): the value c is quantized to several grids"):
        convert_file(edited(tmp_path, edit), tmp_path / "model.tflite")


def test_quantized_bounds_and_fills_are_read_as_real_numbers(tmp_path: Path) -> None:
    """A DequantizeLinear of the constant's integers stands for the number, whatever the integers are."""
    body = "c = Conv (x, w)\n r = Clip (c, low, high)\n t = Tanh (r)\n y = Pad (t, pads, fill)"
    constants: dict[str, Constant] = {"w": weights(4, 3, 2, 2), "low": 0.0, "high": 6.0, "fill": 0.0,
                                      "pads": [0, 0, 1, 0, 0, 0, 0, 2]}  # fmt: skip
    path = quantize(tmp_path, float_proto(body, constants, INPUTS), random_samples(INPUTS))
    proto = onnx.load(path)
    codes = {"low": -128, "high": 127, "fill": -128}
    proto.graph.initializer.append(numpy_helper.from_array(np.array(6 / 255, np.float32), "bound_scale"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(-128, np.int8), "bound_zero"))
    for name, code in codes.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.array(code, np.int8), f"{name}_code"))
        node = onnx.helper.make_node(
            "DequantizeLinear", [f"{name}_code", "bound_scale", "bound_zero"], [f"{name}_real"]
        )
        proto.graph.node.insert(0, node)
    for node in proto.graph.node:
        slots = {"Clip": {1: "low_real", 2: "high_real"}, "Pad": {2: "fill_real"}}.get(node.op_type, {})
        for slot, name in slots.items():
            node.input[slot] = name
    onnx.save(proto, path)
    conversion, _ = convert_file(path, tmp_path / "model.tflite")
    assert set(kinds(conversion.graph)) <= {"CONV_2D", "MINIMUM", "CAST", "GATHER", "PAD", "QUANTIZE"}


@pytest.mark.parametrize("axis", [1, 3])
def test_scales_of_a_constant_operand_go_along_their_axis(axis: int) -> None:
    codes = np.arange(2 * 3 * 3, dtype=np.int8).reshape(1, 2, 3, 3)
    scale = np.array([0.5, 2.0, 4.0], np.float32)[: codes.shape[axis]]
    body = f"w = DequantizeLinear <axis = {axis}> (q, s)\n y = MatMul (x, w)"
    proto = float_proto(body, {"q": codes, "s": scale}, {"x": (1, 2, 5, 3)})
    node = ir.from_proto(proto).graph[1]
    assert node.inputs[1] is not None
    shape = [-1 if i == axis else 1 for i in range(4)]
    np.testing.assert_array_equal(read_real_constant(node.inputs[1], node), codes * scale.reshape(shape))


@pytest.mark.parametrize(("row", "function"), [("Tanh", np.tanh), ("Sigmoid", lambda x: 1 / (1 + np.exp(-x)))])
def test_a_finer_grid_than_the_kernels_is_kept(row: str, function: Any, tmp_path: Path) -> None:
    """Of all codes of the input; TFLite's kernels have steps of 1/128 and 1/256."""
    step, zero = np.float32(0.0021), np.int8(-7)
    parts: dict[str, Constant] = {
        "s": np.array(0.02, np.float32),
        "n": np.array(3, np.int8),
        "t": np.array(step),
        "m": np.array(zero),
    }
    body = f"""q = QuantizeLinear (x, s, n)\n d = DequantizeLinear (q, s, n)\n f = {row} (d)
        r = QuantizeLinear (f, t, m)\n y = DequantizeLinear (r, t, m)"""
    onnx.save(float_proto(body, parts, {"x": (1, 256)}), tmp_path / "in.onnx")
    graph = convert_file(tmp_path / "in.onnx", tmp_path / "out.tflite")[0].graph
    codes = np.arange(-128, 128, dtype=np.int8)[None]
    found = run((tmp_path / "out.tflite").read_bytes(), [codes], workers=1)[0]
    exact = function(0.02 * (codes.astype(np.float64) - 3))
    assert kinds(graph) == ["CAST", "CAST", "GATHER"]
    assert np.array_equal(found, np.clip(np.rint(exact / step) + zero, -128, 127))
