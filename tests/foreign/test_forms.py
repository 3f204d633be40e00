"""The forms that QDQ models come in, each in ONNX text: what the float meaning is, onnxruntime says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from int8_models import Arrays, assert_layers_agree, file_inputs, kinds, parity, run_onnxruntime, to_values, weights
from onnx import numpy_helper

from edgeq.errors import EdgeqError, ExportError
from edgeq.foreign import make_canonical
from edgeq.onnx_file import load_onnx
from edgeq.posttraining import convert_file
from edgeq.tflite.convert import convert_qdq
from edgeq.tflite.model import Graph
from edgeq.tflite.write import write_graph
from edgeq.verify.litert import run

X = "float[1, 3, 6, 5] x"
CODES = np.clip(np.rint(weights(4, 3, 2, 2, scale=60)), -127, 127).astype(np.int8)
CONSTANTS: Arrays = {
    "sx": np.array(0.02, np.float32), "zx": np.array(3, np.int8), "ux": np.array(131, np.uint8),
    "sy": np.array(0.05, np.float32), "zy": np.array(-7, np.int8), "uy": np.array(121, np.uint8),
    "w": CODES, "sw": np.array([0.01, 0.02, 0.015, 0.03], np.float32), "zw": np.zeros(4, np.int8),
    "s1": np.array(0.01, np.float32), "z1": np.array(0, np.int8), "low": np.array(-5, np.int8),
    "f": weights(4, 3, 2, 2), "m": np.clip(np.rint(weights(5, 4, scale=60)), -127, 127).astype(np.int8),
    "sm": np.array([0.01, 0.02, 0.015, 0.03, 0.01], np.float32), "zm": np.zeros(5, np.int8),
    "bias": np.array([100, -200, 300, 4000], np.int32), "sb": np.array([0.0002, 0.0004, 0.0003, 0.0006], np.float32),
    "zb": np.zeros(4, np.int32), "half": np.array(0.02, np.float16), "shape": np.array([1, -1], np.int64),
}  # fmt: skip
HEAD = "xq = QuantizeLinear (x, sx, zx)\n xd = DequantizeLinear (xq, sx, zx)\n"
WEIGHT = "wd = DequantizeLinear <axis = 0> (w, sw, zw)\n"
CONV = HEAD + WEIGHT + "c = Conv (xd, wd)\n"
TAIL = "yq = QuantizeLinear (c, sy, zy)\n y = DequantizeLinear (yq, sy, zy)\n"


def model(
    body: str, inputs: str = X, outputs: str = "float y", opset: int = 20, functions: str = "", constants: Any = None
) -> Any:
    domains = f'"" : {opset}' + (', "local" : 1' if functions else "")
    text = f"<ir_version: 9, opset_import: [{domains}]> main ({inputs}) => ({outputs}) {{ {body} }} {functions}"
    proto = onnx.parser.parse_model(text)
    for name, value in (CONSTANTS | (constants or {})).items():
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for i, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type.lower()}_{i}"
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    proto = onnx.shape_inference.infer_shapes(proto)
    for output in proto.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.dim.add(dim_value=1)
    return proto


def saved(proto: Any, folder: Path) -> Path:
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    return folder / "net.onnx"


def assert_right(proto: Any, folder: Path, becomes: str, *, codes: int = 1) -> Graph:
    """Rewriting changes no result of onnxruntime; LiteRT gives it to the code, in all operations."""
    path = saved(proto, folder)
    canonical = load_onnx(path)
    integer = proto.graph.input[0].type.tensor_type.elem_type
    real = {
        str(v.name): weights(4, *[int(str(s)) for s in v.shape or ()][1:], scale=0.8) for v in canonical.graph.inputs
    }
    given = real
    if integer != onnx.TensorProto.FLOAT:
        zero = CONSTANTS["zx"] if integer == onnx.TensorProto.INT8 else CONSTANTS["ux"]
        limits = np.iinfo(zero.dtype)
        given = {
            name: np.clip(np.rint(a / 0.02) + zero, limits.min, limits.max).astype(zero.dtype)
            for name, a in real.items()
        }
    wanted = run_onnxruntime(onnx.load(path), given)
    make_canonical(canonical)
    for one, other, value in zip(run_onnxruntime(canonical, real), wanted, proto.graph.output, strict=True):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            np.testing.assert_array_equal(one, other)
    conversion = convert_qdq(canonical)
    graph, content = conversion.graph, write_graph(conversion.graph)
    assert " ".join(kinds(graph)) == becomes
    assert_layers_agree(parity(content, canonical, conversion.layouts, real))
    found = run(content, file_inputs(graph, real), workers=1)
    for index, ours, theirs in zip(graph.outputs, found, wanted, strict=True):
        grid = graph.tensors[index].quantization
        assert grid is not None
        if theirs.dtype == np.float32:
            assert np.abs(to_values(ours, graph, index) - theirs).max() <= codes * 1.01 * grid.scale[0]
        else:
            shift = 128 if theirs.dtype == np.uint8 else 0
            moved = ours.transpose(0, 3, 1, 2) if ours.ndim == 4 else ours
            assert np.abs(moved.astype(int) + shift - theirs).max() <= codes
    return graph


@pytest.mark.parametrize(
    ("body", "becomes"),
    [
        (CONV + TAIL, "CONV_2D"),
        (CONV.replace("zx", "ux") + TAIL.replace("zy", "uy"), "CONV_2D"),
        (CONV.replace(", zx)", ")") + TAIL.replace(", zy)", ")"), "CONV_2D"),  # no zero points: uint8, 0
        (CONV.replace("zx", "ux") + "r = Relu (c)\n p = MaxPool <kernel_shape = [2, 2]> (r)\n"
         + TAIL.replace("(c,", "(p,"), "CONV_2D MAX_POOL_2D"),
        (HEAD + "q = QuantizeLinear <axis = 0> (f, sw, zw)\n wd = DequantizeLinear <axis = 0> (q, sw, zw)\n"
         "c = Conv (xd, wd)\n" + TAIL, "CONV_2D"),
        (HEAD + "k = Clip (w, low, high)\n wd = DequantizeLinear <axis = 0> (k, sw, zw)\n c = Conv (xd, wd)\n" + TAIL,
         "CONV_2D"),
        (CONV + "bd = DequantizeLinear <axis = 0> (bias, sb, zb)\n d = Conv (xd, wd, bd)\n"
         "p = QuantizeLinear (d, sy, zy)\n dd = DequantizeLinear (p, sy, zy)\n"
         "cq = QuantizeLinear (c, sx, zx)\n cd = DequantizeLinear (cq, sx, zx)\n a = Add (cd, dd)\n"
         + TAIL.replace("(c,", "(a,"), "CONV_2D CONV_2D ADD"),  # one DQ of the weight, and of the input, for two
        (HEAD + WEIGHT + "c = Conv (xd, wd)\n g = GlobalAveragePool (c2)\n h = Flatten (g)\n"
         "md = DequantizeLinear <axis = 0> (m, sm, zm)\n t = Transpose <perm = [1, 0]> (md)\n e = MatMul (hd, t)\n"
         + TAIL.replace("(c,", "(e,"), "CONV_2D MEAN RESHAPE FULLY_CONNECTED"),
        (HEAD + "i = Identity (xd)\n t = Transpose <perm = [0, 1, 3, 2]> (i)\n" + TAIL.replace("(c,", "(t,"),
         "QUANTIZE TRANSPOSE"),
        (HEAD + TAIL.replace("(c,", "(xd,"), "QUANTIZE"),
        ("xq = QuantizeLinear (x, sx, zx)\n a = DequantizeLinear (xq, sx, zx)\n b = DequantizeLinear (xq, sx, zx)\n"
         "c = Add (a, b)\n" + TAIL, "ADD"),
    ],
    ids=["int8", "uint8", "defaults", "pair before the pool left out", "float weight", "clipped weight", "shared",
         "transposed weight", "moves", "requantize", "two readers"],
)  # fmt: skip
def test_forms(body: str, becomes: str, tmp_path: Path) -> None:
    if "c2" in body:
        body = body.replace(
            "g = Glob", "cq = QuantizeLinear (c, sy, zy)\n c2 = DequantizeLinear (cq, sy, zy)\n g = Glob"
        )
        body = body.replace(
            "h = Flatten (g)\n",
            "h = Flatten (g)\n hq = QuantizeLinear (h, sx, zx)\n hd = DequantizeLinear (hq, sx, zx)\n",
        )
    assert_right(model(body, constants={"high": np.array(40, np.int8)}), tmp_path, becomes, codes=2)


@pytest.mark.parametrize(("kind", "zero", "end"), [("int8", "zx", "zy"), ("uint8", "ux", "uy")])
def test_integer_ends(kind: str, zero: str, end: str, tmp_path: Path) -> None:
    body = f"xd = DequantizeLinear (x, sx, {zero})\n {WEIGHT} c = Conv (xd, wd)\n y = QuantizeLinear (c, sy, {end})"
    graph = assert_right(model(body, f"{kind}[1, 3, 6, 5] x", f"{kind} y"), tmp_path, "CONV_2D")
    assert (graph.input_names, graph.output_names) == (("x",), ("y",))
    assert [int(graph.tensors[i].quantization.zero_point[0]) for i in graph.inputs] == [3]  # type: ignore[union-attr]


@pytest.mark.parametrize("opset", [10, 11, 12])
def test_opsets_of_before_per_channel(opset: int, tmp_path: Path) -> None:
    body = HEAD + "wd = DequantizeLinear (w, s1, z1)\n c = Conv (xd, wd)\n" + TAIL
    assert_right(model(body, opset=opset), tmp_path, "CONV_2D")


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    body = CONV + TAIL + "vq = QuantizeLinear (v, sy, zy)\n vd = DequantizeLinear (vq, sy, zy)\n a = Add (xd, vd)\n"
    body += "aq = QuantizeLinear (a, sy, zy)\n u = DequantizeLinear (aq, sy, zy)\n"
    graph = assert_right(model(body, f"{X}, float[1, 3, 6, 5] v", "float y, float u"), tmp_path, "CONV_2D ADD")
    assert (graph.input_names, graph.output_names) == (("x", "v"), ("y", "u"))


def test_functions_are_inlined(tmp_path: Path) -> None:
    function = """<domain: "local", opset_import: ["" : 20]>
        grid (a, s, z) => (b) { q = QuantizeLinear (a, s, z)  b = DequantizeLinear (q, s, z) }"""
    body = f"xd = local.grid (x, sx, zx)\n {WEIGHT} c = Conv (xd, wd)\n y = local.grid (c, sy, zy)"
    assert_right(model(body, functions=function), tmp_path, "CONV_2D")


def test_half_precision_and_four_bits(tmp_path: Path) -> None:
    import ml_dtypes

    body = CONV.replace("axis = 0> (w, sw, zw)", "axis = 0> (w4, sw, z4)") + TAIL
    four = {"w4": np.clip(CODES // 16, -8, 7).astype(ml_dtypes.int4), "z4": np.zeros(4, ml_dtypes.int4)}
    graph = assert_right(model(body, opset=21, constants=four), tmp_path, "CONV_2D")
    (stored,) = [tensor.data for tensor in graph.tensors if tensor.data is not None and tensor.data.ndim == 4]
    np.testing.assert_array_equal(stored, four["w4"].astype(np.int8).transpose(0, 2, 3, 1))


def test_asymmetric_weights_that_fit_are_shifted_exactly(tmp_path: Path) -> None:
    body = (CONV + TAIL).replace("(w, sw, zw)", "(wu, sw, zu)")
    zero = np.array([100, 128, 140, 127], np.uint8)
    stored = np.clip(CODES.astype(np.int16) // 2 + zero.reshape(4, 1, 1, 1), 0, 255).astype(np.uint8)
    graph = assert_right(model(body, constants={"wu": stored, "zu": zero}), tmp_path, "CONV_2D")
    (codes,) = [tensor.data for tensor in graph.tensors if tensor.data is not None and tensor.data.ndim == 4]
    np.testing.assert_array_equal(codes, (stored.astype(int) - zero.reshape(4, 1, 1, 1)).transpose(0, 2, 3, 1))


BLOCK = {"sk": np.full((4, 3, 2, 1), 0.01, np.float32), "zk": np.zeros((4, 3, 2, 1), np.int8)}
NORM = {"n": np.ones(4, np.float32)}


@pytest.mark.parametrize(
    ("body", "constants", "message"),
    [
        (CONV + TAIL.replace("(yq, sy", "(yq, sx"), {}, r"dequantizelinear_\d.*another grid.*scale 0.02.*scale 0.05"),
        (CONV + TAIL.replace("(yq, sy, zy", "(yq, sy, zx"), {}, "another grid.*zero point 3.*zero point -7"),
        (CONV + TAIL, {"sy": np.float32(1e-40)}, "scale is denormal"),
        (CONV + TAIL, {"sy": np.float32(0)}, "not positive and finite"),
        (CONV + TAIL, {"sw": np.array([0.1, np.nan, 0.1, 0.1], np.float32)}, "not positive and finite"),
        (CONV + TAIL, {"sw": np.array([0.1, 0.1], np.float32)}, "scales of w do not fit|no valid ONNX"),
        (CONV + "t = Abs (sy)\n u = ReduceMax (x)\n v = Mul (t, u)\n" + TAIL.replace("(c, sy", "(c, v"), {},
         "quantizelinear.*scale is not constant.*dynamic"),
        (CONV + TAIL, {"zy": np.array(0, np.int16)}, "reads and writes grids of two types"),
        (CONV + TAIL, {"w": np.full((4, 3, 2, 2), -128, np.int8)}, "conv_3.*weight w .*exactly.*-128"),
        (CONV.replace("axis = 0> (w, sw, zw)", "axis = 2, block_size = 1> (w, sk, zk)") + TAIL, BLOCK,
         "block.*per channel|no valid ONNX"),
        (CONV.replace("Conv (xd, wd)", "Conv (xd, f)") + TAIL, {}, "weight is not quantized|float"),
        (HEAD + "q = QuantizeLinear <axis = 0> (f, sw, zw)\n wd = DequantizeLinear <axis = 0> (q, sw, zw)\n"
         "c = Conv (xd, wd)\n" + TAIL, {"f": np.full((4, 3, 2, 2), np.inf, np.float32)},
         "quantizelinear.*weight f has values that are NaN or infinite .got 48 of 48"),
        (CONV + "b, c2, d2 = BatchNormalization <training_mode = 1> (c, n, n, n, n)\n"
         + TAIL.replace("(c,", "(b,"), NORM,
         "training mode .got training_mode 1.*model.eval"),
        (CONV + "b = BatchNormalization (c, n, n, n, bad)\n" + TAIL.replace("(c,", "(b,"),
         NORM | {"bad": np.array([1, 1, -1, 1], np.float32)}, "variance of channel 2 cannot be used"),
        (CONV + "d = Dropout (c, r, t)\n" + TAIL.replace("(c,", "(d,"), {"r": np.float32(0.5), "t": np.array(True)},
         "dropout_4.*training mode"),
        (CONV + "d = Exp (c)\n" + TAIL.replace("(c,", "(d,"), {}, "no int8"),
        (CONV + "d = NonZero (c)\n e = Cast <to = 1> (d)\n" + TAIL.replace("(c,", "(e,"), {},
         "NonZero has no int8 form"),
    ],
)  # fmt: skip
def test_refused(body: str, constants: Arrays, message: str, tmp_path: Path) -> None:
    path = saved(model(body, opset=21, constants=constants), tmp_path)
    with pytest.raises(EdgeqError, match=message) as caught:
        convert_file(path, tmp_path / "model.tflite")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.tflite").exists()


def test_what_no_output_needs_is_left_out(tmp_path: Path) -> None:
    assert_right(model(CONV + "d = Sin (xd)\n" + TAIL), tmp_path, "CONV_2D")


def test_control_flow_is_refused(tmp_path: Path) -> None:
    body = (
        CONV
        + """
        t = ReduceMax <keepdims = 0> (xd)
        b = Cast <to = 9> (t)
        i = If (b) <then_branch = one () => (float[1, 4, 5, 4] o) { o = Relu (c) },
                    else_branch = two () => (float[1, 4, 5, 4] p) { p = Neg (c) }>
    """
        + TAIL.replace("(c,", "(i,")
    )
    with pytest.raises(ExportError, match=r"node if_\d .If.: has a graph of its own.*attribute .*branch.*control flow"):
        convert_file(saved(model(body), tmp_path), tmp_path / "model.tflite")


def test_a_custom_domain_is_named(tmp_path: Path) -> None:
    proto = model(CONV + TAIL)
    proto.opset_import.append(onnx.helper.make_opsetid("acme.ops", 1))
    (conv,) = [node for node in proto.graph.node if node.op_type == "Conv"]
    conv.domain, conv.op_type = "acme.ops", "FancyConv"
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("c", 1, [1, 4, 5, 4]))
    with pytest.raises(ExportError, match=r"acme.ops::FancyConv has no int8 form"):
        convert_file(saved(proto, tmp_path), tmp_path / "model.tflite")


def test_clipped_codes_mean_clipped_numbers(tmp_path: Path) -> None:
    """Brevitas' low bits: Clip between Q and DQ, moved behind the pair, gives onnxruntime the same to the bit."""
    clips = CONV + "yq = QuantizeLinear (c, sy, zy)\n yc = Clip (yq, low, high)\n y = DequantizeLinear (yc, sy, zy)"
    path = saved(model(clips, constants={"high": np.array(2, np.int8)}), tmp_path)
    canonical, samples = load_onnx(path), {"x": weights(4, 3, 6, 5)}
    make_canonical(canonical)
    found, wanted = run_onnxruntime(canonical, samples)[0], run_onnxruntime(onnx.load(path), samples)[0]
    assert np.unique(wanted).size == 8  # codes -5 to 2
    np.testing.assert_array_equal(found, wanted)
    kept = [node.op_type for node in canonical.graph if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    assert kept == ["Conv", "Clip"]


def test_a_relu_and_a_clip_in_a_row_are_bounds(tmp_path: Path) -> None:
    """No grid is asked for between them."""
    body = f"{CONV} r = Relu (c)\n k = Clip (r, , top)\n{TAIL.replace('(c,', '(k,')}"
    assert_right(model(body, constants={"top": np.array(3.1, np.float32)}), tmp_path, "CONV_2D MAXIMUM MINIMUM")
    assert_right(model(body, constants={"top": np.array(6, np.float32)}), tmp_path, "CONV_2D")


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "PRelu"])
def test_float_constants_are_rounded_as_the_file_has_them(kind: str, tmp_path: Path) -> None:
    """A constant far wider than the result's grid: its rounding error is above a code, and is said."""
    pair = "{1}q = QuantizeLinear ({0}, {2}, {3})\n {1} = DequantizeLinear ({1}q, {2}, {3})\n"
    body = f"t = {kind} (xd, wide)\n" + pair.format("t", "y", "sy", "zy") + f"u = {kind} (y, wide)\n"
    body = HEAD + body + pair.format("u", "v", "s1", "z1")
    proto = model(body, outputs="float v", constants={"wide": weights(3, 1, 5, scale=9)})
    canonical = load_onnx(saved(proto, tmp_path))
    notes = make_canonical(canonical)
    assert notes == ["the constant wide is float in ONNX: rounded to int8 over its own range"]
    conversion = convert_qdq(canonical)
    rows = parity(write_graph(conversion.graph), canonical, conversion.layouts, {"x": weights(64, 3, 6, 5, scale=0.8)})
    assert [row.operation for row in rows].count(kind.upper()) == 2
    assert_layers_agree(rows)
    assert [tensor.name for tensor in conversion.graph.tensors].count("wide") == 1
